"""As fast.py over 8,000 iterations: an hour and a half of one thread in bfloat16, with 8 crops of 192 x 192 each."""

_base_ = './fast.py'
lr = 2e-3
optim_wrapper = dict(optimizer=dict(lr=lr))
max_iters = 8000
train_cfg = dict(max_iters=max_iters, val_interval=800)
param_scheduler = [
    dict(_base_.param_scheduler[0], end=200),
    dict(_base_.param_scheduler[1], begin=200, end=max_iters),
]
custom_hooks = [dict(type='mmirstd.ChannelsLastHook'), *_base_.custom_hooks]
