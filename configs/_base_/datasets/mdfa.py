"""MDFA, 9,978/100: subtrain + val = the training folder without its damaged pairs. Images are 128 x 128."""

_base_ = './_loaders.py'
dataset_type = 'mmirstd.MDFADataset'
data_root = 'data/MDFA'
part = dict(type=dataset_type, data_root=data_root)
batch_size = 32
train_dataloader = dict(batch_size=batch_size, dataset=dict(dataset=dict(split='official/subtrain', **part)))
val_dataloader = dict(dataset=dict(split='official/val', **part))
test_dataloader = dict(dataset=dict(split='official/test', **part))
