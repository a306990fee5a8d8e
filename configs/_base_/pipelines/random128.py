"""As random256.py, 128 x 128."""

_base_ = './random256.py'
crop_size = (128, 128)
train_pipeline = [dict(_base_.train_pipeline[0], crop_size=crop_size), *_base_.train_pipeline[1:]]
