# The masks of the published ADGFNet, which was trained on the same split.
_base_ = [
    '../_base_/distill/masks_simir_repvit-fast.py',
    '../_base_/distill/teachers.py',
    '../_base_/datasets/views_nudt.py',
    '../_base_/schedules/distill.py',
    '../_base_/distill_runtime.py',
]
model = dict(teacher=_base_.adgfnet_nudt)
