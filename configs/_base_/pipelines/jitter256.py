"""DNANet's: the longer side at random from half to twice 256 pixels, random crops of 256 x 256, horizontal flips."""

_base_ = './lsj256.py'
train_pipeline = [
    dict(_base_.jitter, ratio_range=(0.5, 2.0)),
    dict(_base_.train_pipeline[1], pad_val=0),
    *_base_.train_pipeline[2:],
]
