"""ABCNet (Pan et al., ICME 2023), base: CLFT-B."""

_base_ = './abcnet-s.py'
channels = [32, 64, 128, 256, 512]
model = dict(
    backbone=dict(channels=channels),
    neck=dict(in_channels=channels),
    decode_head=dict(in_channels=channels[0]),
    auxiliary_head=[dict(_base_.side, in_channels=width, in_index=i) for i, width in enumerate(channels)],
)
