"""The fast SimIR on NUDT-SIRST from scratch, and from a distilled backbone.

``mmirstd ablate configs/_base_/ablations/initialization_simir_nudt.py --minutes 15 --seeds 0 1 2 --test --data-root
data/NUDT-SIRST``, after a distillation by ../../distill/features_mobile-sam_simir-fast.py.
"""

_base_ = './parts_simir_nudt.py'  # the same network and recipe
student = 'work_dirs/features_mobile-sam_simir-fast/student.pth'
variants = dict(
    _delete_=True,
    base=dict(),
    distilled=dict(model=dict(backbone=dict(init_cfg=dict(type='Pretrained', checkpoint=student)))),
)
