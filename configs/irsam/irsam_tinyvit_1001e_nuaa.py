# The released schedule: 1,001 epochs, the cosine up and down.
_base_ = [
    '../_base_/models/irsam_tinyvit.py',
    '../_base_/datasets/nuaa.py',
    '../_base_/pipelines/irsam512.py',
    '../_base_/schedules/irsam_1001e.py',
    '../_base_/default_runtime.py',
]
train_dataloader = dict(batch_size=4, dataset=dict(pipeline={{_base_.train_pipeline}}))
