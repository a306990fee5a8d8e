_base_ = [
    '../_base_/models/simir_repvit.py',
    '../_base_/datasets/nudt.py',
    '../_base_/pipelines/random256.py',
    '../_base_/schedules/simir.py',
    '../_base_/default_runtime.py',
]
train_dataloader = dict(dataset=dict(pipeline={{_base_.train_pipeline}}))
