"""As irsam.py over 7,600 iterations: 50 epochs of NUDT-SIRST's 597 training images."""

_base_ = './irsam.py'
max_iters = 7600
train_cfg = dict(max_iters=max_iters, val_interval=200)
param_scheduler = [dict(_base_.param_scheduler[0], end=max_iters)]
