_base_ = [
    '../_base_/models/acm-fpn.py',
    '../_base_/datasets/irstd1k.py',
    '../_base_/pipelines/jitter480.py',
    '../_base_/schedules/acm.py',
    '../_base_/default_runtime.py',
]
train_dataloader = dict(dataset=dict(pipeline={{_base_.train_pipeline}}))
