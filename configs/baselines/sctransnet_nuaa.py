_base_ = [
    '../_base_/models/sctransnet.py',
    '../_base_/datasets/nuaa_gray.py',
    '../_base_/pipelines/crop256_symmetries.py',
    '../_base_/schedules/sctransnet.py',
    '../_base_/default_runtime.py',
]
train_dataloader = dict(batch_size=16, dataset=dict(pipeline={{_base_.train_pipeline}}))
model = dict(data_preprocessor=dict(mean=[101.06], std=[34.62]))
