"""IRSAM's training: AdamW 1e-4 without weight decay, cosine to 0.

With 4 images a batch, 9,000 iterations are 50 epochs of IRSTD-1k's 720 training images.
"""

_base_ = './_loops.py'
max_iters = 9000
lr = 1e-4
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=lr, weight_decay=0.0),
    # Gate and log k of WPMD are of the order of 1: with steps of 1e-4 they would stay where they start.
    paramwise_cfg=dict(custom_keys={'wpmd': dict(lr_mult=100.0)}),
)
train_cfg = dict(max_iters=max_iters)
param_scheduler = [dict(type='CosineAnnealingLR', eta_min=0.0, by_epoch=False, begin=0, end=max_iters)]
