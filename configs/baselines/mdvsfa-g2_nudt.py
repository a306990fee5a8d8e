_base_ = [
    '../_base_/models/mdvsfa-g2.py',
    '../_base_/datasets/nudt_gray.py',
    '../_base_/pipelines/whole128.py',
    '../_base_/schedules/mdvsfa.py',
    '../_base_/default_runtime.py',
]
train_dataloader = dict(dataset=dict(pipeline={{_base_.train_pipeline}}))
