"""ADGFNet's training: Adam 1e-3 at batch 8, halved at a quarter, a half and three quarters of 400 epochs.

30,000 iterations are 400 epochs of the 597 NUDT-SIRST images that are left to train on beside the validation split.
"""

optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='Adam', lr=1e-3))
max_iters = 30000
train_cfg = dict(type='IterBasedTrainLoop', max_iters=max_iters, val_interval=400)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
param_scheduler = [
    dict(type='MultiStepLR', by_epoch=False, milestones=[max_iters // 4, max_iters // 2, 3 * max_iters // 4], gamma=0.5)
]
custom_hooks = [dict(type='mmirstd.CollapseGuardHook'), dict(type='mmirstd.SwitchToDeployHook')]
