"""SimIR's FPN queries and decoder behind MMSegmentation's ResNet-18. Its stem and first stage keep stride 2."""

_base_ = './simir_repvit-fast.py'
model = dict(
    data_preprocessor=dict(size=(256, 256)),
    backbone=dict(_delete_=True, type='ResNetV1c', depth=18, norm_cfg=dict(type='BN'), out_indices=(0, 1, 2, 3)),
    neck=dict(in_channels=[64, 128, 256, 512], num_encoder_queries=0, query_channels=None),
    # ResNet's finest map has stride 4, and nothing before the head predicts an early mask.
    decode_head=dict(num_queries=4, upscale=4, token_index=1, aux_weights=dict(_delete_=True, neck=0.3)),
)
