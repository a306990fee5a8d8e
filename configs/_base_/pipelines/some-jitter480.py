"""EGPNet's: one image in five at 0.75 to 1.5 times 480 pixels, random crops of 480 x 480, horizontal flips."""

_base_ = './jitter480.py'
jitter = dict(_base_.train_pipeline[0], scale=(480, 480), ratio_range=(0.75, 1.5))
train_pipeline = [
    dict(type='RandomApply', transforms=[jitter], prob=0.2),
    *_base_.train_pipeline[1:],
]
