"""As irsam.py over 2,400 iterations: 50 epochs of NUAA-SIRST's 191 training images."""

_base_ = './irsam.py'
max_iters = 2400
train_cfg = dict(max_iters=max_iters, val_interval=200)
param_scheduler = [dict(_base_.param_scheduler[0], end=max_iters)]
