"""Images resized to 256 x 256, whatever their shape, and no augmentation: as RPCANet is trained."""

crop_size = (256, 256)
train_pipeline = [
    dict(type='mmirstd.AlignedResize', scale=crop_size, keep_ratio=False),
    dict(type='mmirstd.TargetAwareCrop', crop_size=crop_size, target_prob=0.0),
    dict(type='mmirstd.PackIRSTDInputs'),
]
