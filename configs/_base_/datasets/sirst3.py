# SIRST3: NUAA-SIRST, NUDT-SIRST and IRSTD-1k as one set, 1,676/1,079 (the lists of LESPS and BasicIRSTD, which are the
# three 'basicirstd' lists one after the other). Metrics are over all three; a config of one set tests on it alone.
_base_ = './nudt.py'
nuaa = dict(type='mmirstd.NUAASIRSTDataset', data_root='data/NUAA-SIRST')
nudt = dict(type='mmirstd.NUDTSIRSTDataset', data_root='data/NUDT-SIRST')
irstd1k = dict(type='mmirstd.IRSTD1kDataset', data_root='data/IRSTD-1k')
train = dict(split='basicirstd/subtrain', pipeline={{_base_.train_pipeline}})
val = dict(split='basicirstd/val', pipeline={{_base_.test_pipeline}}, test_mode=True)
test = dict(split='basicirstd/test', pipeline={{_base_.test_pipeline}}, test_mode=True)
# The parts differ in metainfo['split'], which names their lists.
joined = dict(_delete_=True, type='ConcatDataset', ignore_keys=['split'])
train_dataloader = dict(dataset=dict(datasets=[dict(**p, **train) for p in (nuaa, nudt, irstd1k)], **joined))
val_dataloader = dict(dataset=dict(datasets=[dict(**p, **val) for p in (nuaa, nudt, irstd1k)], **joined))
test_dataloader = dict(dataset=dict(datasets=[dict(**p, **test) for p in (nuaa, nudt, irstd1k)], **joined))
