"""ISNet's training: Adagrad at batch 12, whose rate goes from 0.05 to 0 and back every 60 epochs.

The public code runs 3,000 epochs and says that 500 to 1,000 do. 49,500 iterations are 990 epochs of the 597 NUDT-SIRST
images that are left to train on beside the validation split, and end at a rate of 0.
"""

_base_ = './_loops.py'
epoch = 50
max_iters = 990 * epoch
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='Adagrad', lr=0.05, weight_decay=1e-4))
train_cfg = dict(max_iters=max_iters)
param_scheduler = [
    dict(type='CosineAnnealingLR', T_max=30 * epoch, eta_min=0.0, by_epoch=False, begin=0, end=max_iters)
]
