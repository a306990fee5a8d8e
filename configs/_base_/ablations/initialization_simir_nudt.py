"""The fast SimIR on NUDT-SIRST from scratch, and from a distilled backbone.

``mmirstd ablate configs/_base_/ablations/initialization_simir_nudt.py --minutes 15 --seeds 0 1 2 --test --data-root
data/NUDT-SIRST``, after a distillation by ../../distill/features_mobile-sam_simir-fast.py.
"""

_base_ = [
    '../models/simir_repvit-fast.py',
    '../datasets/nudt.py',
    '../pipelines/paste128.py',
    '../schedules/fast_8000.py',
    '../default_runtime.py',
]
train_dataloader = dict(dataset=dict(pipeline={{_base_.train_pipeline}}))
optim_wrapper = dict(type='AmpOptimWrapper', loss_scale='dynamic')
student = 'work_dirs/features_mobile-sam_simir-fast/student.pth'
variants = dict(
    base=dict(),
    distilled=dict(model=dict(backbone=dict(init_cfg=dict(type='Pretrained', checkpoint=student)))),
)
