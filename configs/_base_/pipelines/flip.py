"""Horizontal flips alone: for scenes that are rendered at the size of the crops."""

train_pipeline = [dict(type='RandomFlip', prob=0.5), dict(type='mmirstd.PackIRSTDInputs')]
