"""Random crops of 256 x 256 in any of the eight symmetries of the square, padded with black."""

crop_size = (256, 256)
train_pipeline = [
    dict(type='mmirstd.TargetAwareCrop', crop_size=crop_size, target_prob=0.5),
    # The two are drawn evenly from the symmetries, as flips and a transposition of 0.5 each are.
    dict(type='RandomFlip', prob=0.5),
    dict(type='RandomRotFlip', rotate_prob=0.0, flip_prob=1.0),
    dict(type='mmirstd.PackIRSTDInputs'),
]
