"""As fast_8000.py over 10,000 iterations by Muon: an hour and a quarter of one thread for the fast SimIR in bfloat16.

The rate stays: at 8e-3, Muon ended far below AdamW in a short run, at 4e-3 above it.
"""

_base_ = './fast_8000.py'
max_iters = 10000
optim_wrapper = dict(optimizer=dict(type='mmirstd.MuonAdamW'))
train_cfg = dict(max_iters=max_iters, val_interval=1000)
param_scheduler = [_base_.param_scheduler[0], dict(_base_.param_scheduler[1], end=max_iters)]
