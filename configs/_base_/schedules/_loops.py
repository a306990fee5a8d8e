"""Loops by iteration, and the hooks of every schedule."""

train_cfg = dict(type='IterBasedTrainLoop', val_interval=400)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
custom_hooks = [dict(type='mmirstd.CollapseGuardHook'), dict(type='mmirstd.SwitchToDeployHook')]
