"""As default_runtime.py for a distillation: the checkpoint of the least loss on held-out images, no pictures."""

_base_ = './default_runtime.py'
default_hooks = dict(
    _delete_=True,
    timer=_base_.default_hooks.timer,
    logger=_base_.default_hooks.logger,
    param_scheduler=_base_.default_hooks.param_scheduler,
    checkpoint=dict(_base_.default_hooks.checkpoint, interval=2000, save_best='held_out_loss', rule='less'),
    sampler_seed=_base_.default_hooks.sampler_seed,
)
