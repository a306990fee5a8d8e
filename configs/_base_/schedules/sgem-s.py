"""The short schedule at a higher rate, which the small SGEM U-Net takes."""

_base_ = './fast.py'
optim_wrapper = dict(optimizer=dict(lr=4e-3))
