"""EGPNet's: one image in five at 0.75 to 1.5 times 256 pixels, random crops of 256 x 256, horizontal flips."""

_base_ = './jitter256.py'
jitter = dict(_base_.train_pipeline[0], scale=(256, 256), ratio_range=(0.75, 1.5))
train_pipeline = [
    dict(type='RandomApply', transforms=[jitter], prob=0.2),
    *_base_.train_pipeline[1:],
]
