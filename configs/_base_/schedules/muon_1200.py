"""As muon_10000.py over 1,200 iterations of 3 large crops at a third of the rate: the last stage of a training."""

_base_ = './muon_10000.py'
max_iters = 1200
lr = 7e-4
optim_wrapper = dict(optimizer=dict(lr=lr))
train_cfg = dict(max_iters=max_iters, val_interval=400)
param_scheduler = [_base_.param_scheduler[0], dict(_base_.param_scheduler[1], end=max_iters)]
