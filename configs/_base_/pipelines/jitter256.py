"""DNANet's: the longer side at random from half to twice 256 pixels, random crops of 256 x 256, flips, blur.

Padding is black and background. PIL's radius of a Gaussian blur, up to 1 in every second image, is its deviation.
"""

_base_ = './lsj256.py'
off = ('vignetting', 'read_noise', 'shot_noise', 'column_noise', 'row_noise', 'gain', 'offset', 'gamma')
# One effect alone: dict(no_effect, prob=..., NAME=...).
no_effect = dict(type='mmirstd.InfraredPhotometric', blur=None, min_contrast=0, **dict.fromkeys(off))
train_pipeline = [
    dict(_base_.jitter, ratio_range=(0.5, 2.0)),
    dict(_base_.train_pipeline[1], pad_val=0, seg_pad_val=0),
    _base_.train_pipeline[2],
    dict(no_effect, prob=0.5, blur=(0.0, 1.0)),
    _base_.train_pipeline[-1],
]
