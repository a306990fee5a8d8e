"""SCTransNet's training: Adam 1e-3 at batch 16, cosine to 1e-5 over 1,000 epochs.

38,000 iterations are 1,000 epochs of the 597 NUDT-SIRST images that are left to train on beside the validation split.
"""

_base_ = './_loops.py'
max_iters = 38000
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='Adam', lr=1e-3))
train_cfg = dict(max_iters=max_iters)
param_scheduler = [dict(type='CosineAnnealingLR', eta_min=1e-5, by_epoch=False, begin=0, end=max_iters)]
