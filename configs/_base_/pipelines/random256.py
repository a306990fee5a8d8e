"""Random crops of 256 x 256, padded with mid-gray, flipped horizontally."""

crop_size = (256, 256)
train_pipeline = [
    dict(type='mmirstd.TargetAwareCrop', crop_size=crop_size, target_prob=0.0, pad_val=128),
    dict(type='RandomFlip', prob=0.5),
    dict(type='mmirstd.PackIRSTDInputs'),
]
