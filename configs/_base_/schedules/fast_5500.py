"""As fast.py over 5,500 iterations: half an hour of one thread for the small SGEM U-Net in bfloat16 (`--amp`)."""

_base_ = './fast.py'
max_iters = 5500
train_cfg = dict(max_iters=max_iters, val_interval=500)
param_scheduler = [_base_.param_scheduler[0], dict(_base_.param_scheduler[1], end=max_iters)]
custom_hooks = [dict(type='mmirstd.ChannelsLastHook'), *_base_.custom_hooks]
