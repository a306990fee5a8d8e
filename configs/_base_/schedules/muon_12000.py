"""As muon_10000.py over 12,000 iterations."""

_base_ = './muon_10000.py'
max_iters = 12000
train_cfg = dict(max_iters=max_iters)
param_scheduler = [_base_.param_scheduler[0], dict(_base_.param_scheduler[1], end=max_iters)]
