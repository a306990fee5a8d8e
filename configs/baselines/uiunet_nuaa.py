_base_ = [
    '../_base_/models/uiunet.py',
    '../_base_/datasets/nuaa.py',
    '../_base_/pipelines/resize320.py',
    '../_base_/schedules/uiunet.py',
    '../_base_/default_runtime.py',
]
train_dataloader = dict(batch_size=3, dataset=dict(pipeline={{_base_.train_pipeline}}))
