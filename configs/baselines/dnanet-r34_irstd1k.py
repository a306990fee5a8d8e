_base_ = [
    '../_base_/models/dnanet-r34.py',
    '../_base_/datasets/irstd1k.py',
    '../_base_/pipelines/jitter256.py',
    '../_base_/schedules/dnanet.py',
    '../_base_/default_runtime.py',
]
train_dataloader = dict(batch_size=4, dataset=dict(pipeline={{_base_.train_pipeline}}))
