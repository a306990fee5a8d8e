"""Ablation: a pyramid and a decoder of 32 channels."""

_base_ = './simir_repvit-fast_nudt.py'
model = dict(
    neck=dict(out_channels=32, query_channels=64),
    decode_head=dict(in_channels=32, channels=32, mask_channels=(24, 12)),
)
