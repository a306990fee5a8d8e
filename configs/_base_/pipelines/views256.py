"""Views of 256 x 256 for distillation: scale jitter, any of the eight symmetries, gray levels; no mask is needed."""

crop_size = (256, 256)
views_pipeline = [
    dict(
        type='RandomResize',
        resize_type='mmirstd.AlignedResize',
        scale=crop_size,
        ratio_range=(0.75, 2.0),
        keep_ratio=True,
    ),
    dict(type='mmirstd.TargetAwareCrop', crop_size=crop_size, target_prob=0.0, pad_mode='reflect'),
    dict(type='RandomFlip', prob=0.5),
    dict(type='RandomRotFlip', rotate_prob=0.0, flip_prob=1.0),
    dict(type='mmirstd.InfraredPhotometric'),
    dict(type='mmirstd.PackIRSTDInputs'),
]
