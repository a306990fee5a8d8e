"""As distill.py over 20,000 iterations in mixed precision, for a GPU."""

_base_ = './distill.py'
max_iters = 20000
optim_wrapper = dict(type='AmpOptimWrapper', dtype='bfloat16', optimizer=dict(lr=1e-3, weight_decay=0.05))
train_cfg = dict(max_iters=max_iters, val_interval=2000)
param_scheduler = [
    dict(_base_.param_scheduler[0], end=500),
    dict(_base_.param_scheduler[1], begin=500, end=max_iters),
]
