"""The training of one of MDvsFA's generators: Adam 1e-4 at batch 8, a fifth every ten epochs, the last one included.

33,600 iterations are 30 epochs of the 8,980 MDFA images that are left to train on beside the validation split.
"""

_base_ = './_loops.py'
max_iters = 33600
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='Adam', lr=1e-4, betas=(0.5, 0.999)))
train_cfg = dict(max_iters=max_iters)
param_scheduler = [
    dict(type='MultiStepLR', by_epoch=False, milestones=[n * max_iters // 30 for n in (9, 19, 29)], gamma=0.2)
]
