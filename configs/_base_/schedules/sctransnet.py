"""SCTransNet's training: Adam 1e-3 at batch 16, ten epochs of warm-up, cosine to 1e-5 up to 1,000 epochs.

38,000 iterations are 1,000 epochs of the 597 NUDT-SIRST images that are left to train on beside the validation split.
"""

_base_ = './_loops.py'
epoch = 38
max_iters = 1000 * epoch
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='Adam', lr=1e-3))
train_cfg = dict(max_iters=max_iters)
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-3, by_epoch=False, begin=0, end=10 * epoch),
    dict(type='CosineAnnealingLR', eta_min=1e-5, by_epoch=False, begin=10 * epoch, end=max_iters),
]
