_base_ = [
    '../_base_/models/simir_repvit-fast.py',
    '../_base_/datasets/nudt.py',
    '../_base_/pipelines/paste256_borders.py',
    '../_base_/schedules/muon_6000.py',
    '../_base_/default_runtime.py',
]
model = dict(data_preprocessor=dict(size={{_base_.crop_size}}))
train_dataloader = dict(batch_size=3, dataset=dict(pipeline={{_base_.train_pipeline}}))
default_hooks = dict(checkpoint=dict(interval=600))
