"""As muon_1200.py over 6,000 iterations, at half of the rate of muon_10000.py."""

_base_ = './muon_1200.py'
max_iters = 6000
optim_wrapper = dict(optimizer=dict(lr=1e-3))
train_cfg = dict(max_iters=max_iters, val_interval=600)
param_scheduler = [_base_.param_scheduler[0], dict(_base_.param_scheduler[1], end=max_iters)]
