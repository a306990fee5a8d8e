"""As default_runtime.py for a distillation: the checkpoint of the least loss on held-out images, no pictures."""

_base_ = './default_runtime.py'
hooks = {name: _base_.default_hooks[name] for name in ('timer', 'logger', 'param_scheduler', 'sampler_seed')}
checkpoint = dict(_base_.default_hooks.checkpoint, interval=2000, save_best='held_out_loss', rule='less')
default_hooks = dict(_delete_=True, checkpoint=checkpoint, **hooks)
