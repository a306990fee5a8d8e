_base_ = [
    '../_base_/models/egpnet.py',
    '../_base_/datasets/nuaa.py',
    '../_base_/pipelines/some-jitter480.py',
    '../_base_/schedules/egpnet.py',
    '../_base_/default_runtime.py',
]
train_dataloader = dict(batch_size=1, dataset=dict(pipeline={{_base_.train_pipeline}}))
model = dict(data_preprocessor=dict(size=(480, 480)))
