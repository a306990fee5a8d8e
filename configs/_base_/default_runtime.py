default_scope = 'mmseg'
runner_type = 'mmirstd.StrictRunner'
env_cfg = dict(
    cudnn_benchmark=False,  # images come in many sizes
    mp_cfg=dict(mp_start_method='fork', opencv_num_threads=0),
    dist_cfg=dict(backend='nccl', timeout=1800),  # seconds that a process waits for another
)
randomness = dict(seed=0)
load_from = None
resume = False

log_level = 'INFO'
log_processor = dict(by_epoch=False)
default_hooks = dict(
    timer=dict(type='IterTimerHook'),
    logger=dict(type='LoggerHook', interval=50, log_metric_by_epoch=False),
    param_scheduler=dict(type='ParamSchedulerHook'),
    # Chosen on the validation split, never on the test split.
    checkpoint=dict(
        type='mmirstd.ResumableCheckpointHook',
        by_epoch=False,
        interval=400,
        max_keep_ckpts=2,
        save_best='IoU',
        rule='greater',
    ),
    sampler_seed=dict(type='DistSamplerSeedHook'),
    # Every 50th validation image, for TensorBoard and the work dir.
    visualization=dict(type='mmirstd.IRSTDVisualizationHook', draw=True, interval=50),
)

vis_backends = [dict(type='LocalVisBackend'), dict(type='mmirstd.OptionalTensorboardVisBackend')]
visualizer = dict(type='mmirstd.IRSTDVisualizer', vis_backends=vis_backends)
