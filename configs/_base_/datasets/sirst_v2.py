"""SIRST v2, 512/256/256 as published. Every second image has no target; sizes go up to 1918 x 1080 pixels."""

_base_ = './_loaders.py'
dataset_type = 'mmirstd.SIRSTv2Dataset'
data_root = 'data/SIRST-v2'
part = dict(type=dataset_type, data_root=data_root)
train_dataloader = dict(dataset=dict(dataset=dict(split='full/train', **part)))
val_dataloader = dict(dataset=dict(split='full/val', **part))
test_dataloader = dict(dataset=dict(split='full/test', **part))
