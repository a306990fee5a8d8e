# SAM ViT-B's features at 1024 inside, for SimIR as published. For a GPU.
_base_ = [
    '../_base_/distill/features_simir_repvit.py',
    '../_base_/distill/teachers.py',
    '../_base_/datasets/views3.py',
    '../_base_/schedules/distill_gpu.py',
    '../_base_/distill_runtime.py',
]
model = dict(teacher=_base_.sam_vit_b)
