"""As fast_5500.py over 8,000 iterations at half the rate: an hour of one thread for the fast SimIR in bfloat16.

At 4e-3, its averaged weights fell from IoU 0.63 to 0.23 in the middle of a run, and came back.
"""

_base_ = './fast_5500.py'
max_iters = 8000
lr = 2e-3
optim_wrapper = dict(optimizer=dict(lr=lr))
train_cfg = dict(max_iters=max_iters)
param_scheduler = [_base_.param_scheduler[0], dict(_base_.param_scheduler[1], end=max_iters)]
