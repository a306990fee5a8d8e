"""IRSAM's: scale jitter of 0.8 to 1.5, random crops of 512 x 512, flips."""

_base_ = './lsj512.py'
train_pipeline = [
    dict(_base_.train_pipeline[0], ratio_range=(0.8, 1.5)),
    *_base_.train_pipeline[1:],
]
