"""The training splits of NUAA-SIRST, NUDT-SIRST and IRSTD-1k and synthetic scenes, in about equal shares.

Validation and test as in sirst3.py.
"""

_base_ = './sirst3.py'
nuaa, nudt, irstd1k = _base_.train_dataloader.dataset.dataset.datasets
synthetic = dict(
    type='mmirstd.SyntheticIRSTDDataset', length=600, seed=0, pipeline={{_base_.load_pipeline}}, cache='memory'
)
train_dataloader = dict(
    dataset=dict(dataset=dict(datasets=[dict(type='RepeatDataset', times=3, dataset=nuaa), nudt, irstd1k, synthetic]))
)
