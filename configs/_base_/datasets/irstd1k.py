"""IRSTD-1k, 800/201: subtrain + val = 800 training images. Images are 512 x 512."""

_base_ = './_loaders.py'
dataset_type = 'mmirstd.IRSTD1kDataset'
data_root = 'data/IRSTD-1k'
part = dict(type=dataset_type, data_root=data_root)
train_dataloader = dict(dataset=dict(dataset=dict(split='basicirstd/subtrain', **part)))
val_dataloader = dict(dataset=dict(split='basicirstd/val', **part))
test_dataloader = dict(dataset=dict(split='basicirstd/test', **part))
