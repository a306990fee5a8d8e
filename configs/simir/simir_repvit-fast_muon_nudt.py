_base_ = [
    '../_base_/models/simir_repvit-fast.py',
    '../_base_/datasets/nudt.py',
    '../_base_/pipelines/paste128_borders.py',
    '../_base_/schedules/muon_14000.py',
    '../_base_/default_runtime.py',
]
train_dataloader = dict(dataset=dict(pipeline={{_base_.train_pipeline}}))
default_hooks = dict(checkpoint=dict(interval=1000))
