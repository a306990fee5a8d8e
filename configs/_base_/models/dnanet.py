"""DNANet (Li et al., TIP 2023), ResNet-18 depth: two blocks a level."""

_base_ = './_segmentor.py'
channels = [16, 32, 64, 128, 256]
num_blocks = [1, 2, 2, 2, 2]
_head = dict(
    type='mmirstd.ConvHead',
    in_channels=channels[0],
    loss_decode=dict(type='mmirstd.SoftIoULoss', per_image=False, loss_weight=0.25),
)
model = dict(
    backbone=dict(type='mmirstd.ResidualUNetEncoder', channels=channels, num_blocks=num_blocks),
    neck=dict(type='mmirstd.DenselyNestedPyramid', in_channels=channels, num_blocks=num_blocks),
    decode_head=dict(in_index=3, **_head),
    auxiliary_head=[dict(in_index=i, **_head) for i in range(3)],
    init_cfg=dict(type='Xavier', layer='Conv2d', distribution='normal'),
)
