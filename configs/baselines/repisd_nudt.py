_base_ = [
    '../_base_/models/repisd.py',
    '../_base_/datasets/nudt.py',
    '../_base_/pipelines/jitter256.py',
    '../_base_/schedules/repisd.py',
    '../_base_/default_runtime.py',
]
train_dataloader = dict(batch_size=16, dataset=dict(pipeline={{_base_.train_pipeline}}))
