_base_ = [
    '../_base_/models/sgem_unet-s.py',
    '../_base_/datasets/joint_no-nuaa.py',
    '../_base_/pipelines/cameras192.py',
    '../_base_/schedules/long.py',
    '../_base_/default_runtime.py',
]
train_dataloader = dict(dataset=dict(pipeline={{_base_.train_pipeline}}))
model = dict(data_preprocessor=dict(size={{_base_.crop_size}}), neck=dict(sgem=dict(reading='additive')))
default_hooks = dict(checkpoint=dict(interval=800))
