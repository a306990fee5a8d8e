"""As crop256_symmetries.py, 512 x 512."""

_base_ = './crop256_symmetries.py'
crop_size = (512, 512)
train_pipeline = [dict(_base_.train_pipeline[0], crop_size=crop_size), *_base_.train_pipeline[1:]]
