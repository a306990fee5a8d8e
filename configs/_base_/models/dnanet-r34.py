"""DNANet (Li et al., TIP 2023), ResNet-34 depth: three to six blocks a level."""

_base_ = './dnanet.py'
num_blocks = [1, 3, 4, 6, 3]
model = dict(
    backbone=dict(num_blocks=num_blocks),
    neck=dict(num_blocks=num_blocks),
)
