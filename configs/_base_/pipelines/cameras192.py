"""What differs from camera to camera: scale, orientation and gray levels, on crops of 192 x 192."""

crop_size = (192, 192)
scales = (0.5, 0.7, 1.0, 1.4, 2.0)
train_pipeline = [
    dict(
        type='RandomChoice',
        transforms=[[dict(type='mmirstd.AlignedResize', scale_factor=s, keep_ratio=True)] for s in scales],
        prob=[1 / 8, 3 / 16, 3 / 8, 3 / 16, 1 / 8],
    ),
    dict(type='mmirstd.CopyPasteTargets', prob=0.3),
    dict(type='mmirstd.TargetAwareCrop', crop_size=crop_size, target_prob=0.6, pad_mode='reflect'),
    # The two are drawn evenly from the symmetries, as flips and a transposition of 0.5 each are.
    dict(type='RandomFlip', prob=0.5),
    dict(type='RandomRotFlip', rotate_prob=0.0, flip_prob=1.0),
    dict(type='mmirstd.InfraredPhotometric'),
    dict(type='mmirstd.PackIRSTDInputs'),
]
