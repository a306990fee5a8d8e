"""DNANet (Li et al., TIP 2023), ResNet-10 depth: one block a level."""

_base_ = './dnanet.py'
num_blocks = [1, 1, 1, 1, 1]
model = dict(
    backbone=dict(num_blocks=num_blocks),
    neck=dict(num_blocks=num_blocks),
)
