"""As some-jitter480.py, 256 x 256."""

_base_ = './some-jitter480.py'
crop_size = (256, 256)
train_pipeline = [
    dict(_base_.train_pipeline[0], transforms=[dict(_base_.jitter, scale=crop_size)]),
    dict(_base_.train_pipeline[1], crop_size=crop_size),
    *_base_.train_pipeline[2:],
]
