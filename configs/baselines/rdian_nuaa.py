_base_ = [
    '../_base_/models/rdian.py',
    '../_base_/datasets/nuaa_gray.py',
    '../_base_/pipelines/jitter480_sharp.py',
    '../_base_/schedules/rdian.py',
    '../_base_/default_runtime.py',
]
train_dataloader = dict(dataset=dict(pipeline={{_base_.train_pipeline}}))
