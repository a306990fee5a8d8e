"""IAANet's training: plain SGD at batch 8 over 10 epochs, 0.01 for the boxes and 0.001 for the rest.

11,230 iterations are 10 epochs of the 8,980 MDFA images that are left to train on beside the validation split.
"""

_base_ = './_loops.py'
max_iters = 11230
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='SGD', lr=0.001),
    paramwise_cfg=dict(
        custom_keys={'backbone.proposals': dict(lr_mult=10.0), 'decode_head.detect': dict(lr_mult=10.0)}
    ),
)
train_cfg = dict(max_iters=max_iters)
param_scheduler = []
