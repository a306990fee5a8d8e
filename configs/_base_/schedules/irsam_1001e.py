"""IRSAM's schedule as released: 1,001 epochs, in which the rate goes from 1e-4 to 0 and back every 100 epochs.

The released code steps ``CosineAnnealingLR(T_max=50)`` once an epoch and goes on past its minimum. Here the rate
follows the same curve with every iteration. 48 iterations are an epoch of NUAA-SIRST's 191 training images, 4 a
batch; an epoch of IRSTD-1k has 180 and one of NUDT-SIRST 150.
"""

_base_ = './irsam.py'
epoch = 48
max_iters = 1001 * epoch
train_cfg = dict(max_iters=max_iters)
param_scheduler = [dict(_base_.param_scheduler[0], end=max_iters, T_max=50 * epoch)]
