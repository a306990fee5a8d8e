"""Ablation: no dense queries, and so no early mask."""

_base_ = './simir_repvit-fast_nudt.py'
model = dict(backbone=dict(dense_channels=0), decode_head=dict(aux_weights=dict(_delete_=True, neck=0.3)))
