# IRDST (real), 32,523/8,130, drawn by frame from the same 85 sequences; `sequences/*` in place of `basicirstd/*` keeps
# test sequences apart. Training crops 256 x 256 out of frames of about 992 x 742; test frames keep their size.
_base_ = './nudt.py'
dataset_type = 'mmirstd.IRDSTDataset'
data_root = 'data/IRDST'
part = dict(type=dataset_type, data_root=data_root)
train_dataloader = dict(dataset=dict(split='basicirstd/subtrain', **part))
# 400 of 3,252 validation frames, which the list has in random order: enough to choose a checkpoint.
val_dataloader = dict(dataset=dict(split='basicirstd/val', indices=400, **part))
test_dataloader = dict(dataset=dict(split='basicirstd/test', **part))
