"""ACM's: the longer side at random from half to twice 512 pixels, random crops of 480 x 480, horizontal flips."""

_base_ = './lsj256.py'
crop_size = (480, 480)
train_pipeline = [
    dict(_base_.jitter, scale=(512, 512), ratio_range=(0.5, 2.0)),
    dict(_base_.train_pipeline[1], crop_size=crop_size, pad_val=0),
    *_base_.train_pipeline[2:],
]
