"""L-RPCANet (Liu et al., 2025)."""

_base_ = './rpcanet.py'
model = dict(backbone=dict(light_channels=16), decode_head=dict(reconstruction_weight=0.1))
