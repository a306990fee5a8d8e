"""One gray channel from the file to the stem: in the readers, in mean and deviation, and in the stem's in_channels.

RepViT weights for three channels still load (init_cfg): their stem is summed over its input channels.
"""

_base_ = './simir_repvit-fast_nudt.py'
load = dict(type='mmirstd.LoadIRImage', channels=1)
train_dataloader = dict(dataset=dict(dataset=dict(pipeline=[load, *_base_.load_pipeline[1:]])))
test_pipeline = [dict(_base_.test_pipeline[0], channels=1), *_base_.test_pipeline[1:]]
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
# The averages of ImageNet's three.
model = dict(
    data_preprocessor=dict(mean=[114.5], std=[57.6], bgr_to_rgb=False), backbone=dict(backbone=dict(in_channels=1))
)
