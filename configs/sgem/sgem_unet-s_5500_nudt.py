_base_ = [
    '../_base_/models/sgem_unet-s.py',
    '../_base_/datasets/nudt.py',
    '../_base_/pipelines/paste128.py',
    '../_base_/schedules/fast_5500.py',
    '../_base_/default_runtime.py',
]
train_dataloader = dict(dataset=dict(pipeline={{_base_.train_pipeline}}))
default_hooks = dict(checkpoint=dict(interval=500))
