"""Distillation on a CPU: AdamW, cosine to zero, averaged weights; the loss on held-out images every 200 iterations."""

_base_ = './_adamw.py'
max_iters = 2000
optim_wrapper = dict(optimizer=dict(lr=2e-3, weight_decay=0.01), clip_grad=dict(max_norm=5.0))
train_cfg = dict(max_iters=max_iters, val_interval=200)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.05, by_epoch=False, begin=0, end=100),
    dict(type='CosineAnnealingLR', eta_min=1e-5, by_epoch=False, begin=100, end=max_iters),
]
custom_hooks = [
    dict(type='mmirstd.FiniteLossHook'),
    dict(type='EMAHook', ema_type='MomentumAnnealingEMA', momentum=0.01, gamma=8, update_buffers=True),
    dict(type='mmirstd.StudentExportHook'),
]
