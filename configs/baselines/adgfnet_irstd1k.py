_base_ = [
    '../_base_/models/adgfnet.py',
    '../_base_/datasets/irstd1k_gray.py',
    '../_base_/pipelines/crop512_symmetries.py',
    '../_base_/schedules/adgfnet.py',
    '../_base_/default_runtime.py',
]
train_dataloader = dict(dataset=dict(pipeline={{_base_.train_pipeline}}))
model = dict(data_preprocessor=dict(mean=[87.47], std=[39.72], size=(512, 512)))
