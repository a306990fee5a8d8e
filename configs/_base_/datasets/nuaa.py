"""NUAA-SIRST (SIRST v1), 213/214: subtrain + val = 213 training images of 96 to 456 pixels."""

_base_ = './_loaders.py'
dataset_type = 'mmirstd.NUAASIRSTDataset'
data_root = 'data/NUAA-SIRST'
part = dict(type=dataset_type, data_root=data_root)
train_dataloader = dict(dataset=dict(dataset=dict(split='basicirstd/subtrain', **part)))
val_dataloader = dict(dataset=dict(split='basicirstd/val', **part))
test_dataloader = dict(dataset=dict(split='basicirstd/test', **part))
