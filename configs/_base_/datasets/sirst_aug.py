"""SIRST-Aug, 8,525/545: subtrain + val = the folder trainval. Images are 256 x 256."""

_base_ = './_loaders.py'
dataset_type = 'mmirstd.SIRSTAugDataset'
data_root = 'data/SIRST-Aug'
part = dict(type=dataset_type, data_root=data_root)
train_dataloader = dict(dataset=dict(dataset=dict(split='official/subtrain', **part)))
val_dataloader = dict(dataset=dict(split='official/val', **part))
test_dataloader = dict(dataset=dict(split='official/test', **part))
