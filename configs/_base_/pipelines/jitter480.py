"""ACM's: as jitter256.py, from half to twice 512 pixels, and crops of 480 x 480."""

_base_ = './jitter256.py'
crop_size = (480, 480)
train_pipeline = [
    dict(_base_.train_pipeline[0], scale=(512, 512)),
    dict(_base_.train_pipeline[1], crop_size=crop_size),
    *_base_.train_pipeline[2:],
]
