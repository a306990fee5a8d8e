"""NUDT-SIRST, 663/664: subtrain + val = 663 training images. Images are 256 x 256."""

_base_ = './_loaders.py'
dataset_type = 'mmirstd.NUDTSIRSTDataset'
data_root = 'data/NUDT-SIRST'
part = dict(type=dataset_type, data_root=data_root)
train_dataloader = dict(dataset=dict(dataset=dict(split='basicirstd/subtrain', **part)))
val_dataloader = dict(dataset=dict(split='basicirstd/val', **part))
test_dataloader = dict(dataset=dict(split='basicirstd/test', **part))
