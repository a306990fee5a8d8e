# RepViT under MMSegmentation's UPerHead, from MMSegmentation's own config: change what differs, inherit the rest.
_base_ = [
    'mmseg::_base_/models/upernet_r50.py',
    'mmirstd::_base_/datasets/nudt.py',
    'mmirstd::_base_/pipelines/crop256.py',
    'mmirstd::_base_/schedules/simir.py',
    'mmirstd::_base_/default_runtime.py',
]
train_dataloader = dict(dataset=dict(pipeline={{_base_.train_pipeline}}))
norm_cfg = dict(type='BN')
losses = [dict(type='mmirstd.BinaryCrossEntropyLoss'), dict(type='mmirstd.BinaryDiceLoss')]
target = dict(num_classes=2, out_channels=1, threshold=0.5, norm_cfg=norm_cfg, loss_decode=losses)
model = dict(
    data_preprocessor=dict(size=(256, 256)),
    pretrained=None,
    backbone=dict(_delete_=True, type='mmirstd.RepViT', arch='m0_9', stem_strides=(1, 2)),
    decode_head=dict(in_channels=[48, 96, 192, 384], channels=128, **target),
    auxiliary_head=dict(in_channels=192, channels=64, **target),
)
