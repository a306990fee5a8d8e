# One gray channel from file to stem.
_base_ = [
    '../_base_/models/simir_repvit-fast-1ch.py',
    '../_base_/datasets/nudt_gray.py',
    '../_base_/pipelines/paste128.py',
    '../_base_/schedules/fast.py',
    '../_base_/default_runtime.py',
]
train_dataloader = dict(dataset=dict(pipeline={{_base_.train_pipeline}}))
