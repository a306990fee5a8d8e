_base_ = [
    '../_base_/models/abcnet-b.py',
    '../_base_/datasets/irstd1k.py',
    '../_base_/pipelines/jitter512.py',
    '../_base_/schedules/abcnet_batch16.py',
    '../_base_/default_runtime.py',
]
train_dataloader = dict(batch_size=16, dataset=dict(pipeline={{_base_.train_pipeline}}))
model = dict(data_preprocessor=dict(size=(512, 512)), backbone=dict(image_size=512))
