"""The test split of IRSTD-1k in one gray channel."""

_base_ = ['../datasets/irstd1k.py', './_runtime.py']
test_pipeline = [dict(_base_.test_pipeline[0], channels=1), *_base_.test_pipeline[1:]]
train_dataloader = None
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
