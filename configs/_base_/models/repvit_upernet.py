"""RepViT under MMSegmentation's UPerHead, from MMSegmentation's own config: change what differs, inherit the rest."""

_base_ = 'mmseg::_base_/models/upernet_r50.py'
_losses = [dict(type='mmirstd.BinaryCrossEntropyLoss'), dict(type='mmirstd.BinaryDiceLoss')]
_norm = dict(type='BN')
_target = dict(num_classes=2, out_channels=1, threshold=0.5, norm_cfg=_norm, loss_decode=_losses)
model = dict(
    type='mmirstd.IRSTDEncoderDecoder',
    data_preprocessor=dict(type='mmirstd.IRSTDDataPreProcessor', size=(256, 256)),
    pretrained=None,
    backbone=dict(_delete_=True, type='mmirstd.RepViT', arch='m0_9', stem_strides=(1, 2)),
    decode_head=dict(in_channels=[48, 96, 192, 384], channels=128, **_target),
    auxiliary_head=dict(in_channels=192, channels=64, **_target),
)
