"""As abcnet.py, for batch 4: 90,000 iterations are 500 epochs of IRSTD-1k's 720 images."""

_base_ = './abcnet.py'
epoch = 180
max_iters = 500 * epoch
train_cfg = dict(max_iters=max_iters)
param_scheduler = [
    dict(_base_.param_scheduler[0], end=5 * epoch),
    dict(_base_.param_scheduler[1], begin=5 * epoch, end=max_iters),
]
