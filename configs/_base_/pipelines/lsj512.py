"""As lsj256.py, 512 x 512."""

_base_ = './lsj256.py'
crop_size = (512, 512)
train_pipeline = [
    dict(_base_.jitter, scale=crop_size),
    dict(_base_.train_pipeline[1], crop_size=crop_size),
    *_base_.train_pipeline[2:],
]
