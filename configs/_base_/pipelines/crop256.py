"""Crops of 256 x 256, every second one around a target, flipped horizontally."""

crop_size = (256, 256)
train_pipeline = [
    # Padding is near the ImageNet mean.
    dict(type='mmirstd.TargetAwareCrop', crop_size=crop_size, target_prob=0.5, pad_val=114),
    dict(type='RandomFlip', prob=0.5),
    dict(type='mmirstd.PackIRSTDInputs'),
]
