"""MSHNet's training: Adagrad at a constant 0.05 and batch 4 over 400 epochs.

60,000 iterations are 400 epochs of the 597 NUDT-SIRST images that are left to train on beside the validation split.
"""

_base_ = './_loops.py'
max_iters = 60000
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='Adagrad', lr=0.05))
train_cfg = dict(max_iters=max_iters)
param_scheduler = []
