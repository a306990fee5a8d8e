_base_ = 'simir_repvit-fast_nudt.py'
# One grey channel from the file to the stem. All that says so: the loaders, mean and std, and in_channels.
# RepViT weights for three channels still load (init_cfg): their stem is summed over its input channels.
load = dict(type='mmirstd.LoadIRImage', channels=1)
train_pipeline = [load, *_base_.train_pipeline[1:]]
test_pipeline = [load, *_base_.test_pipeline[1:]]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = dict(dataset=dict(pipeline=test_pipeline))
# The averages of ImageNet's three.
data_preprocessor = dict(mean=[114.5], std=[57.6], bgr_to_rgb=False)
model = dict(data_preprocessor=data_preprocessor, backbone=dict(backbone=dict(in_channels=1)))
