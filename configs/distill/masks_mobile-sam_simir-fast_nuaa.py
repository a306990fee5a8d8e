# The masks of a MobileSAM that was fine-tuned by mobile-sam_nuaa; labels are the set's own.
_base_ = [
    '../_base_/distill/masks_simir_repvit-fast.py',
    '../_base_/distill/teachers.py',
    '../_base_/datasets/views_nuaa.py',
    '../_base_/schedules/distill.py',
    '../_base_/distill_runtime.py',
]
model = dict(teacher=_base_.mobile_sam_nuaa, labels='masks')
