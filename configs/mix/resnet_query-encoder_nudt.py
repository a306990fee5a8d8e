# The encoder queries around MMSegmentation's ResNet-18: what changes is the backbone inside the wrapper.
_base_ = 'mmirstd::simir/simir_repvit-fast_nudt.py'
model = dict(
    backbone=dict(
        backbone=dict(_delete_=True, type='ResNetV1c', depth=18, norm_cfg=dict(type='BN'), out_indices=(0, 1, 2, 3)),
        in_channels=[64, 128, 256, 512],
    ),
    decode_head=dict(upscale=4, token_index=1),
)
