"""SimIR's schedule: AdamW, 10 warm-up iterations, cosine to 1e-6 over 9,600 iterations."""

_base_ = './_loops.py'
max_iters = 9600
lr = 1e-4
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=lr, weight_decay=0.1),
    clip_grad=dict(max_norm=0.01),
    paramwise_cfg=dict(
        norm_decay_mult=0.0,
        custom_keys={key: dict(decay_mult=0.0) for key in ('queries', 'query_pos', 'decoder_query')},
    ),
)
train_cfg = dict(max_iters=max_iters)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.1, by_epoch=False, begin=0, end=10),
    dict(type='CosineAnnealingLR', eta_min=1e-6, by_epoch=False, begin=10, end=max_iters),
]
