"""SGEM's training: 1,500 epochs of batch 8 at a rate of 1e-4. The optimizer is not published; here Adam, rate constant.

112,000 iterations are 1,500 epochs of the 597 NUDT-SIRST images that are left to train on beside the validation split.
"""

_base_ = './_loops.py'
max_iters = 112000
lr = 1e-4
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='Adam', lr=lr))
train_cfg = dict(max_iters=max_iters)
param_scheduler = []
