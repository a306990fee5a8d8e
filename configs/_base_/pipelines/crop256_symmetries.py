"""BasicIRSTD's: crops of 256 x 256, every second one around a target, in any of the eight symmetries of the square.

Padding is background. Its gray level is the mean of NUAA-SIRST, whose images alone are smaller.
"""

crop_size = (256, 256)
train_pipeline = [
    dict(type='mmirstd.TargetAwareCrop', crop_size=crop_size, target_prob=0.5, pad_val=101, seg_pad_val=0),
    # The two are drawn evenly from the symmetries, as flips and a transposition of 0.5 each are.
    dict(type='RandomFlip', prob=0.5),
    dict(type='RandomRotFlip', rotate_prob=0.0, flip_prob=1.0),
    dict(type='mmirstd.PackIRSTDInputs'),
]
