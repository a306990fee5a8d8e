# NUDT-SIRST-Sea, 4,961/847 tiles; val is 4 of the 41 training scenes. Training crops 256 x 256.
_base_ = './nudt.py'
dataset_type = 'mmirstd.NUDTSIRSTSeaDataset'
data_root = 'data/NUDT-SIRST-Sea'
part = dict(type=dataset_type, data_root=data_root)
train_dataloader = dict(dataset=dict(split='basicirstd/subtrain', **part))
val_dataloader = dict(dataset=dict(split='basicirstd/val', **part))
test_dataloader = dict(dataset=dict(split='basicirstd/test', **part))
