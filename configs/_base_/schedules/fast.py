"""A short schedule for small models on a CPU: AdamW at a high rate, cosine to zero, averaged weights."""

_base_ = './_adamw.py'
max_iters = 2200
lr = 4e-3
optim_wrapper = dict(
    optimizer=dict(lr=lr, weight_decay=0.01),
    clip_grad=dict(max_norm=5.0),
)
train_cfg = dict(max_iters=max_iters, val_interval=200)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.05, by_epoch=False, begin=0, end=100),
    dict(type='CosineAnnealingLR', eta_min=1e-5, by_epoch=False, begin=100, end=max_iters),
]
# Averaged weights and BatchNorm statistics are what is validated, saved and tested. A step's weights enter with
# max(momentum, gamma / (gamma + step)): an average by momentum alone still holds the initial weights in a short run.
# IoU on the validation split of NUDT-SIRST, sgem_unet-s_nudt, at the end of 200, 400 or 800 iterations (rate 0), and at
# 300 of 2,200 (full rate); each column is one run with all averages beside it:
#                   200    400    800    300 of 2,200
#   last weights   0.503  0.594  0.640  0.451
#   momentum only  0      0.510  0.643  0.144
#   gamma 1        0.034  0.548  0.643  0.257
#   gamma 4        0.477  0.568  0.642  0.494
#   gamma 8        0.502  0.589  0.648  0.497
#   gamma 16       0.506  0.592  0.647  0.484
#   gamma 32       0.507  0.599  0.643  0.465
#   gamma 100      0.508  0.604  0.638  0.434
averaging = dict(type='EMAHook', ema_type='MomentumAnnealingEMA', momentum=0.01, gamma=8, update_buffers=True)
custom_hooks = [*_base_.custom_hooks[:1], averaging, *_base_.custom_hooks[1:]]
