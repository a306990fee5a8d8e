"""SimIR's schedule: AdamW, 10 warm-up iterations, cosine to 1e-6 over 9,600 iterations."""

optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=1e-4, weight_decay=0.1),
    clip_grad=dict(max_norm=0.01),
    paramwise_cfg=dict(
        norm_decay_mult=0.0,
        custom_keys={key: dict(decay_mult=0.0) for key in ('queries', 'query_pos', 'decoder_query')},
    ),
)
train_cfg = dict(type='IterBasedTrainLoop', max_iters=9600, val_interval=400)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
param_scheduler = [
    dict(type='LinearLR', start_factor=0.1, by_epoch=False, begin=0, end=10),
    dict(type='CosineAnnealingLR', eta_min=1e-6, by_epoch=False, begin=10, end=9600),
]
custom_hooks = [dict(type='mmirstd.CollapseGuardHook'), dict(type='mmirstd.SwitchToDeployHook')]
