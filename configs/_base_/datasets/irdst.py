"""IRDST (real), 32,523/8,130, drawn by frame from the same 85 sequences; frames have about 992 x 742 pixels.

`sequences/*` in place of `basicirstd/*` keeps test sequences apart.
"""

_base_ = './_loaders.py'
dataset_type = 'mmirstd.IRDSTDataset'
data_root = 'data/IRDST'
part = dict(type=dataset_type, data_root=data_root)
train_dataloader = dict(dataset=dict(dataset=dict(split='basicirstd/subtrain', **part)))
# 400 of 3,252 validation frames, in random order: enough to choose a checkpoint.
val_dataloader = dict(dataset=dict(split='basicirstd/val', indices=400, **part))
test_dataloader = dict(dataset=dict(split='basicirstd/test', **part))
