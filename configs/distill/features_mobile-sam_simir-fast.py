# MobileSAM's features, for the fast SimIR: two views of each image of three sets, on a CPU from a teacher cache.
_base_ = [
    '../_base_/distill/features_simir_repvit-fast.py',
    '../_base_/distill/teachers.py',
    '../_base_/datasets/views3.py',
    '../_base_/schedules/distill.py',
    '../_base_/distill_runtime.py',
]
model = dict(teacher=_base_.mobile_sam)
