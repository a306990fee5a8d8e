"""RDIAN's: as jitter480.py, without the blur."""

_base_ = './jitter480.py'
train_pipeline = [step for step in _base_.train_pipeline if step['type'] != 'mmirstd.InfraredPhotometric']
