"""As muon_10000.py in a third of its iterations, to compare sets that are left out."""

_base_ = './muon_10000.py'
max_iters = 3300
train_cfg = dict(max_iters=max_iters, val_interval=1100)
param_scheduler = [_base_.param_scheduler[0], dict(_base_.param_scheduler[1], end=max_iters)]
