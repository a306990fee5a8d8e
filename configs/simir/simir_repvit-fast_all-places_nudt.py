"""Ablation: sparse queries exchange at every place of the trunk and every level of the pyramid."""

_base_ = './simir_repvit-fast_nudt.py'
model = dict(backbone=dict(query_places=None), neck=dict(query_levels=None))
