"""ISNet's: as jitter480.py, then symmetries, noise, rotations and gray levels, which its code has from albumentations.

Warps (one image in five), local contrast, sharpening and embossing (each one in eight) are left out. Shifts of the
saturation would color gray images; rotations there also shift and scale, as crop and jitter do already.
"""

_base_ = './jitter480.py'
levels = dict(_base_.no_effect, prob=1.0, gain=(0.8, 1.2), offset=(-51.0, 51.0))
train_pipeline = [
    *_base_.train_pipeline[:-1],
    # With the flip before, drawn evenly from the symmetries.
    dict(type='RandomRotFlip', rotate_prob=0.0, flip_prob=1.0),
    # A variance of 10 to 50.
    dict(_base_.no_effect, prob=0.2, read_noise=(3.2, 7.1)),
    dict(type='RandomRotate', prob=0.2, degree=45.0),
    dict(type='RandomApply', transforms=[levels], prob=0.125),
    dict(_base_.no_effect, prob=0.5, offset=(-20.0, 20.0)),
    _base_.train_pipeline[-1],
]
