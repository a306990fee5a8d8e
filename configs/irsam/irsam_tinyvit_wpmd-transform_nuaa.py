"""WPMD of the image alone, at its native size."""

_base_ = './irsam_tinyvit_no-wpmd_nuaa.py'
wpmd = dict(type='mmirstd.WPMD')
train_dataloader = dict(dataset=dict(dataset=dict(pipeline=[*_base_.load_pipeline, wpmd])))
test_pipeline = [*_base_.test_pipeline[:2], wpmd, _base_.test_pipeline[-1]]
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
