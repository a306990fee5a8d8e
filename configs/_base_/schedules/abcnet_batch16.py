"""As abcnet.py, for batch 16: 57,000 iterations are 1,500 epochs of NUDT-SIRST's 597 images."""

_base_ = './abcnet.py'
epoch = 38
max_iters = 1500 * epoch
train_cfg = dict(max_iters=max_iters)
param_scheduler = [
    dict(_base_.param_scheduler[0], end=5 * epoch),
    dict(_base_.param_scheduler[1], begin=5 * epoch, end=max_iters),
]
