_base_ = [
    '../_base_/models/irsam_samvit-b.py',
    '../_base_/datasets/nudt.py',
    '../_base_/pipelines/irsam512.py',
    '../_base_/schedules/irsam_7600.py',
    '../_base_/default_runtime.py',
]
train_dataloader = dict(batch_size=4, dataset=dict(pipeline={{_base_.train_pipeline}}))
