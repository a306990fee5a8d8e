"""Synthetic sequences of six frames in one gray channel: a batch is a sequence."""

_base_ = ['../datasets/_loaders.py', './_runtime.py']
test_pipeline = [dict(_base_.test_pipeline[0], channels=1), *_base_.test_pipeline[1:]]
train_dataloader = None
frames = 6
part = dict(type='mmirstd.SyntheticSequenceDataset', frames=frames, size=(128, 128), pipeline=test_pipeline)
val_dataloader = dict(batch_size=frames, dataset=dict(length=60, part='val', **part))
test_dataloader = dict(batch_size=frames, dataset=dict(length=180, part='test', **part))
