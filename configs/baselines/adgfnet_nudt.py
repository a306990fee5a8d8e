_base_ = [
    '../_base_/models/adgfnet.py',
    '../_base_/datasets/nudt_gray.py',
    '../_base_/pipelines/crop256_symmetries.py',
    '../_base_/schedules/adgfnet.py',
    '../_base_/default_runtime.py',
]
train_dataloader = dict(dataset=dict(pipeline={{_base_.train_pipeline}}))
