"""As fast_7000.py over 5,500 iterations: half an hour for the small SGEM U-Net."""

_base_ = './fast_7000.py'
max_iters = 5500
train_cfg = dict(max_iters=max_iters)
param_scheduler = [_base_.param_scheduler[0], dict(_base_.param_scheduler[1], end=max_iters)]
