_base_ = [
    '../_base_/models/sgem_unet-s.py',
    '../_base_/datasets/irstd1k.py',
    '../_base_/pipelines/paste128.py',
    '../_base_/schedules/fast.py',
    '../_base_/default_runtime.py',
]
train_dataloader = dict(dataset=dict(pipeline={{_base_.train_pipeline}}))
