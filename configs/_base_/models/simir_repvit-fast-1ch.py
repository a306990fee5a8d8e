"""The thin SimIR on one gray channel. RepViT weights for three channels load too, summed over their input channels."""

_base_ = './simir_repvit-fast.py'
# Mean and deviation are the averages of ImageNet's three.
model = dict(
    data_preprocessor=dict(mean=[114.5], std=[57.6], bgr_to_rgb=False),
    backbone=dict(backbone=dict(in_channels=1)),
)
