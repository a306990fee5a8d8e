"""Loaders of the three parts, and the metric.

The base of a set adds its class, folder and splits. A config adds its training pipeline, a base of ../pipelines, with
`train_dataloader = dict(dataset=dict(pipeline={{_base_.train_pipeline}}))`: the set loads samples, the wrapper around
it augments them, so that a transform may draw other samples. Loaded samples stay in memory.
"""

_base_ = '../pipelines/test.py'
batch_size = 8
workers = dict(num_workers=2, persistent_workers=True)
train_dataloader = dict(
    batch_size=batch_size,
    sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=dict(type='MultiImageMixDataset', dataset=dict(pipeline={{_base_.load_pipeline}}, cache='memory')),
    **workers,
)
val_dataloader = dict(
    batch_size=1,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(pipeline={{_base_.test_pipeline}}, test_mode=True),
    **workers,
)
test_dataloader = val_dataloader
val_evaluator = dict(type='mmirstd.IRSTDMetric')
test_evaluator = val_evaluator
