"""SIRST3: NUAA-SIRST, NUDT-SIRST and IRSTD-1k as one set, 1,676/1,079 (the splits of LESPS and BasicIRSTD).

They are the three 'basicirstd' splits, one after the other. Metrics are over all three sets; a config of one set
tests on it alone.
"""

_base_ = './_loaders.py'
sets = [
    dict(type='mmirstd.NUAASIRSTDataset', data_root='data/NUAA-SIRST'),
    dict(type='mmirstd.NUDTSIRSTDataset', data_root='data/NUDT-SIRST'),
    dict(type='mmirstd.IRSTD1kDataset', data_root='data/IRSTD-1k'),
]
train = dict(split='basicirstd/subtrain', pipeline={{_base_.load_pipeline}}, cache='memory')
val = dict(split='basicirstd/val', pipeline={{_base_.test_pipeline}}, test_mode=True)
test = dict(split='basicirstd/test', pipeline={{_base_.test_pipeline}}, test_mode=True)
joined = dict(_delete_=True, type='ConcatDataset')
train_dataloader = dict(dataset=dict(dataset=dict(datasets=[dict(**s, **train) for s in sets], **joined)))
val_dataloader = dict(dataset=dict(datasets=[dict(**s, **val) for s in sets], **joined))
test_dataloader = dict(dataset=dict(datasets=[dict(**s, **test) for s in sets], **joined))
