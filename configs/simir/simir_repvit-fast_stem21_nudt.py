"""Ablation: the first convolution of the stem at half resolution."""

_base_ = './simir_repvit-fast_nudt.py'
model = dict(backbone=dict(backbone=dict(stem_strides=(2, 1))))
