# WPMD inside the encoder and of the image, at its native size.
_base_ = './irsam_tinyvit_nuaa.py'
wpmd = dict(type='mmirstd.WPMD')
train_pipeline = [*_base_.irsam_train_pipeline[:2], wpmd, *_base_.irsam_train_pipeline[2:]]
test_pipeline = [*_base_.test_pipeline[:2], wpmd, *_base_.test_pipeline[2:]]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = dict(dataset=dict(pipeline=test_pipeline))
