"""EGPNet's: as jitter480_strong.py, one image in five at 0.75 to 1.5 times 480 pixels."""

_base_ = './jitter480_strong.py'
jitter = dict(_base_.train_pipeline[0], scale=(480, 480), ratio_range=(0.75, 1.5))
train_pipeline = [dict(type='RandomApply', transforms=[jitter], prob=0.2), *_base_.train_pipeline[1:]]
