"""ACM's training: Adagrad 0.05 at batch 8, a polynomial to zero over 300 epochs.

22,500 iterations are 300 epochs of the 597 NUDT-SIRST images that are left to train on beside the validation split.
"""

_base_ = './_loops.py'
max_iters = 22500
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='Adagrad', lr=0.05, weight_decay=1e-4))
train_cfg = dict(max_iters=max_iters)
param_scheduler = [dict(type='PolyLR', power=0.9, eta_min=0.0, by_epoch=False, begin=0, end=max_iters)]
