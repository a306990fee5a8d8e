_base_ = [
    '../_base_/models/isnet.py',
    '../_base_/datasets/nudt.py',
    '../_base_/pipelines/jitter480_strong.py',
    '../_base_/schedules/isnet.py',
    '../_base_/default_runtime.py',
]
train_dataloader = dict(batch_size=12, dataset=dict(pipeline={{_base_.train_pipeline}}))
