"""As fast.py over 900 iterations, for some 200 images: they are 38 epochs of NUAA-SIRST's 191."""

_base_ = './fast.py'
max_iters = 900
train_cfg = dict(max_iters=max_iters)
param_scheduler = [_base_.param_scheduler[0], dict(_base_.param_scheduler[1], end=max_iters)]
