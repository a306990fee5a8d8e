"""One gray channel from file to stem. RepViT weights for three channels load too, summed over their input channels."""

_base_ = [
    '../_base_/models/simir_repvit-fast.py',
    '../_base_/datasets/nudt_gray.py',
    '../_base_/pipelines/paste128.py',
    '../_base_/schedules/fast.py',
    '../_base_/default_runtime.py',
]
train_dataloader = dict(dataset=dict(pipeline={{_base_.train_pipeline}}))
# Mean and deviation are the averages of ImageNet's three.
gray = dict(mean=[114.5], std=[57.6], bgr_to_rgb=False)
model = dict(data_preprocessor=gray, backbone=dict(backbone=dict(in_channels=1)))
