"""IRSTD-1k in one gray channel: for networks with in_channels=1, and one value of mean and std."""

_base_ = './irstd1k.py'
load = dict(_base_.load_pipeline[0], channels=1)
test_pipeline = [dict(_base_.test_pipeline[0], channels=1), *_base_.test_pipeline[1:]]
train_dataloader = dict(dataset=dict(dataset=dict(pipeline=[load, *_base_.load_pipeline[1:]])))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
