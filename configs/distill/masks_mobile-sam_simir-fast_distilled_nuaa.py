# Both: the student begins with the distilled backbone, and learns the masks of the fine-tuned teacher.
_base_ = './masks_mobile-sam_simir-fast_nuaa.py'
student = 'work_dirs/features_mobile-sam_simir-fast/student.pth'
model = dict(student=dict(backbone=dict(init_cfg=dict(type='Pretrained', checkpoint=student))))
