_base_ = [
    '../_base_/models/simir_repvit-fast.py',
    '../_base_/datasets/nudt.py',
    '../_base_/pipelines/paste128.py',
    '../_base_/schedules/fast_8000.py',
    '../_base_/default_runtime.py',
]
train_dataloader = dict(dataset=dict(pipeline={{_base_.train_pipeline}}))
default_hooks = dict(checkpoint=dict(interval=500))
model = dict(decode_head=dict(feature_act=dict(_delete_=True, type='ReLU', inplace=True)))  # as its weights have it
