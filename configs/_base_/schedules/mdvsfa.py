"""The training of MDvsFA's generators: Adam 1e-4 at batch 8, a fifth every ten epochs.

33,600 iterations are 30 epochs of the 8,980 MDFA images that are left to train on beside the validation split.
"""

_base_ = './_loops.py'
max_iters = 33600
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='Adam', lr=1e-4, betas=(0.5, 0.999)))
train_cfg = dict(max_iters=max_iters)
param_scheduler = [
    dict(type='MultiStepLR', by_epoch=False, milestones=[3 * max_iters // 10, 19 * max_iters // 30], gamma=0.2)
]
