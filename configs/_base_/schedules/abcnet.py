"""ABCNet's training: AdamW 1e-4, five epochs of warm-up, a polynomial to zero over 1,500 epochs.

28,500 iterations are 1,500 epochs, at batch 32, of the 597 NUDT-SIRST images that are left to train on beside the
validation split.
"""

_base_ = './_loops.py'
epoch = 19
max_iters = 1500 * epoch
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='AdamW', lr=1e-4, weight_decay=0.01))
train_cfg = dict(max_iters=max_iters)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.2, by_epoch=False, begin=0, end=5 * epoch),
    dict(type='PolyLR', power=0.9, eta_min=0.0, by_epoch=False, begin=5 * epoch, end=max_iters),
]
