"""ABCNet's: the longer side at random from half to twice 512 pixels, random crops of 512 x 512, horizontal flips."""

_base_ = './jitter480.py'
crop_size = (512, 512)
train_pipeline = [
    _base_.train_pipeline[0],
    dict(_base_.train_pipeline[1], crop_size=crop_size),
    *_base_.train_pipeline[2:],
]
