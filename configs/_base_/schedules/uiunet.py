"""UIUNet's training: Adam at a constant 1e-3 and batch 3 over 500 epochs.

99,500 iterations are 500 epochs of the 597 NUDT-SIRST images that are left to train on beside the validation split.
"""

_base_ = './_loops.py'
max_iters = 99500
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='Adam', lr=1e-3))
train_cfg = dict(max_iters=max_iters)
param_scheduler = []
