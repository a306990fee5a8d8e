# IRSAM's decoder behind a timm model, through mmpretrain's wrapper: maps of stride 8 and 16 of a ResNet.
_base_ = 'mmirstd::irsam/irsam_tinyvit_nuaa.py'
custom_imports = dict(imports=['mmpretrain.models'])
resnet = dict(type='mmpretrain.TIMMBackbone', model_name='resnet18d', features_only=True, out_indices=(2, 3))
model = dict(
    backbone=dict(_delete_=True, **resnet),
    # The early map has half the stride of the deep one: learned layers enlarge it by 2.
    decode_head=dict(in_channels=256, early_channels=128, early_upscale=2, init_cfg=None),
)
