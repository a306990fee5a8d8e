_base_ = [
    '../_base_/models/irsam_tinyvit.py',
    '../_base_/datasets/nudt.py',
    '../_base_/schedules/irsam.py',
    '../_base_/default_runtime.py',
]
train_dataloader = dict(batch_size=4, dataset=dict(pipeline={{_base_.irsam_train_pipeline}}))
# 50 epochs of 597 images.
max_iters = 7600
train_cfg = dict(max_iters=max_iters, val_interval=200)
param_scheduler = [dict(type='CosineAnnealingLR', eta_min=0.0, by_epoch=False, begin=0, end=max_iters)]
