_base_ = [
    '../_base_/models/simir_repvit.py',
    '../_base_/datasets/irstd1k.py',
    '../_base_/pipelines/lsj512.py',
    '../_base_/schedules/simir.py',
    '../_base_/default_runtime.py',
]
train_dataloader = dict(dataset=dict(pipeline={{_base_.train_pipeline}}))
model = dict(data_preprocessor=dict(size=(512, 512)))
