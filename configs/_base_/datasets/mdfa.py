# MDFA, 9,978/100: subtrain + val = the training folder without its damaged pairs. Images are 128 x 128.
_base_ = './nudt.py'
dataset_type = 'mmirstd.MDFADataset'
data_root = 'data/MDFA'
crop_size = (128, 128)
train_pipeline = [
    dict(type='mmirstd.LoadIRImage'),
    dict(type='mmirstd.LoadTargetMask'),
    dict(type='mmirstd.TargetAwareCrop', crop_size=crop_size, target_prob=0.5, pad_val=114),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackSegInputs', meta_keys={{_base_.meta_keys}}),
]
part = dict(type=dataset_type, data_root=data_root)
train_dataloader = dict(batch_size=32, dataset=dict(split='official/subtrain', pipeline=train_pipeline, **part))
val_dataloader = dict(dataset=dict(split='official/val', **part))
test_dataloader = dict(dataset=dict(split='official/test', **part))
