"""DNANet (Li et al., TIP 2023), VGG-10 depth: one block a level, without a shortcut."""

_base_ = './dnanet.py'
num_blocks = [1, 1, 1, 1, 1]
model = dict(
    backbone=dict(num_blocks=num_blocks, residual=False),
    neck=dict(num_blocks=num_blocks, residual=False),
)
