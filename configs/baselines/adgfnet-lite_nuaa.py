# ADGFNet-Lite: half the widths, no refinement; 0.121 M parameters, 0.856 G multiply-adds at 256 x 256.
_base_ = './adgfnet_nuaa.py'
channels = [8, 16, 32, 64]
model = dict(
    backbone=dict(channels=channels),
    neck=dict(in_channels=channels, channels=8),
    decode_head=dict(in_channels=8, num_refine=0),
)
