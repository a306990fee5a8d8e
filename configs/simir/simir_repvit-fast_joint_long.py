_base_ = [
    '../_base_/models/simir_repvit-fast.py',
    '../_base_/datasets/joint_empty.py',
    '../_base_/pipelines/cameras128_ground.py',
    '../_base_/schedules/muon_12000.py',
    '../_base_/default_runtime.py',
]
train_dataloader = dict(dataset=dict(pipeline={{_base_.train_pipeline}}))
default_hooks = dict(checkpoint=dict(interval=1000))
