# The released code, its schedule included.
_base_ = [
    '../_base_/models/irsam_tinyvit_released.py',
    '../_base_/datasets/nuaa.py',
    '../_base_/pipelines/irsam512_canny.py',
    '../_base_/schedules/irsam_1001e.py',
    '../_base_/default_runtime.py',
]
train_dataloader = dict(batch_size=4, dataset=dict(pipeline={{_base_.train_pipeline}}))
