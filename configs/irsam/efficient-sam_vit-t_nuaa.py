# Plain fine-tuning of EfficientSAM, ViT-T.
_base_ = [
    '../_base_/models/efficient-sam_vit-t.py',
    '../_base_/datasets/nuaa.py',
    '../_base_/pipelines/irsam512.py',
    '../_base_/schedules/irsam_2400.py',
    '../_base_/default_runtime.py',
]
train_dataloader = dict(batch_size=4, dataset=dict(pipeline={{_base_.train_pipeline}}))
