"""Ablation: a pyramid and a decoder of 64 channels."""

_base_ = './simir_repvit-fast_nudt.py'
model = dict(
    neck=dict(out_channels=64),
    decode_head=dict(in_channels=64, channels=64),
)
