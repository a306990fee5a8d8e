_base_ = [
    '../_base_/models/sgem_unet.py',
    '../_base_/datasets/nudt.py',
    '../_base_/pipelines/crop256.py',
    '../_base_/schedules/sgem.py',
    '../_base_/default_runtime.py',
]
train_dataloader = dict(dataset=dict(pipeline={{_base_.train_pipeline}}))
