"""As fast.py over 1,400 iterations: with the installation, `make demo` takes a quarter of an hour on two cores."""

_base_ = './fast.py'
max_iters = 1400
train_cfg = dict(max_iters=max_iters, val_interval=700)
param_scheduler = [_base_.param_scheduler[0], dict(_base_.param_scheduler[1], end=max_iters)]
