"""As fast.py over 7,000 iterations: an hour of one thread in bfloat16 (`--amp`), with 8 crops of 128 x 128 each."""

_base_ = './fast.py'
max_iters = 7000
train_cfg = dict(max_iters=max_iters, val_interval=500)
param_scheduler = [_base_.param_scheduler[0], dict(_base_.param_scheduler[1], end=max_iters)]
custom_hooks = [dict(type='mmirstd.ChannelsLastHook'), *_base_.custom_hooks]
