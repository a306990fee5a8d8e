"""For small models on a CPU: pasted targets, crops of 128 x 128 with reflected borders, flips along both axes."""

crop_size = (128, 128)
train_pipeline = [
    dict(type='mmirstd.CopyPasteTargets', prob=0.5),
    dict(type='mmirstd.TargetAwareCrop', crop_size=crop_size, target_prob=0.5, pad_mode='reflect'),
    dict(type='RandomFlip', prob=[0.25, 0.25], direction=['horizontal', 'vertical']),
    dict(type='mmirstd.PackIRSTDInputs'),
]
