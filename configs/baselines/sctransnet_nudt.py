_base_ = [
    '../_base_/models/sctransnet.py',
    '../_base_/datasets/nudt_gray.py',
    '../_base_/pipelines/crop256_symmetries.py',
    '../_base_/schedules/sctransnet.py',
    '../_base_/default_runtime.py',
]
train_dataloader = dict(batch_size=16, dataset=dict(pipeline={{_base_.train_pipeline}}))
