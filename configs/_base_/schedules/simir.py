"""SimIR's schedule: AdamW, cosine to 1e-6 over 9,600 iterations, mixed precision on a GPU.

The released configuration names 10 warm-up iterations with a factor of 1.0, which is none.
"""

_base_ = './_adamw.py'
max_iters = 9600
lr = 1e-4
optim_wrapper = dict(
    type='mmirstd.GPUAmpOptimWrapper',
    optimizer=dict(lr=lr, weight_decay=0.1),
    clip_grad=dict(max_norm=0.01),
)
train_cfg = dict(max_iters=max_iters)
param_scheduler = [dict(type='CosineAnnealingLR', eta_min=1e-6, by_epoch=False, begin=0, end=max_iters)]
