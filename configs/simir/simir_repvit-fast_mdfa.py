_base_ = [
    '../_base_/models/simir_repvit-fast.py',
    '../_base_/datasets/mdfa.py',
    '../_base_/pipelines/crop128.py',
    '../_base_/schedules/fast.py',
    '../_base_/default_runtime.py',
]
train_dataloader = dict(batch_size=8, dataset=dict(pipeline={{_base_.train_pipeline}}))
