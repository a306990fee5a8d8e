"""ADGFNet's training: Adam 1e-3 at batch 8, halved at a quarter, a half and three quarters of 400 epochs.

30,000 iterations are 400 epochs of the 597 NUDT-SIRST images that are left to train on beside the validation split.
"""

_base_ = './_loops.py'
max_iters = 30000
lr = 1e-3
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='Adam', lr=lr))
train_cfg = dict(max_iters=max_iters)
param_scheduler = [
    dict(type='MultiStepLR', by_epoch=False, milestones=[max_iters // 4, max_iters // 2, 3 * max_iters // 4], gamma=0.5)
]
