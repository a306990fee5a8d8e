# The fast SimIR, fine-tuned from what features_mobile-sam_simir-fast leaves.
_base_ = '../simir/simir_repvit-fast_nudt.py'
student = 'work_dirs/features_mobile-sam_simir-fast/student.pth'
model = dict(backbone=dict(init_cfg=dict(type='Pretrained', checkpoint=student)))
