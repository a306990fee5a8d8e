"""As flip.py, along both axes."""

train_pipeline = [
    dict(type='RandomFlip', prob=[0.25, 0.25], direction=['horizontal', 'vertical']),
    dict(type='mmirstd.PackIRSTDInputs'),
]
