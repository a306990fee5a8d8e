"""A short schedule for small models on a CPU: AdamW at a high rate, cosine to zero, averaged weights."""

_base_ = './_adamw.py'
max_iters = 2200
lr = 2e-3
optim_wrapper = dict(
    optimizer=dict(lr=lr, weight_decay=0.01),
    clip_grad=dict(max_norm=5.0),
)
train_cfg = dict(max_iters=max_iters, val_interval=200)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.05, by_epoch=False, begin=0, end=100),
    dict(type='CosineAnnealingLR', eta_min=1e-5, by_epoch=False, begin=100, end=max_iters),
]
# Averaged weights and BatchNorm statistics are what is validated, saved and tested.
averaging = dict(type='EMAHook', ema_type='ExponentialMovingAverage', momentum=0.01, update_buffers=True)
custom_hooks = [*_base_.custom_hooks[:1], averaging, *_base_.custom_hooks[1:]]
