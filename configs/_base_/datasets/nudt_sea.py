"""NUDT-SIRST-Sea, 4,961/847 tiles; val is 4 of the 41 training scenes."""

_base_ = './_loaders.py'
dataset_type = 'mmirstd.NUDTSIRSTSeaDataset'
data_root = 'data/NUDT-SIRST-Sea'
part = dict(type=dataset_type, data_root=data_root)
train_dataloader = dict(dataset=dict(dataset=dict(split='basicirstd/subtrain', **part)))
val_dataloader = dict(dataset=dict(split='basicirstd/val', **part))
test_dataloader = dict(dataset=dict(split='basicirstd/test', **part))
