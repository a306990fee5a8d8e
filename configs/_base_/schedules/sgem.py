"""SGEM's training: 1,500 epochs of batch 8 at a rate of 1e-4. The optimiser is not published; here Adam, rate constant.

112,000 iterations are 1,500 epochs of the 597 NUDT-SIRST images that are left to train on beside the validation list.
"""

optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='Adam', lr=1e-4))
train_cfg = dict(type='IterBasedTrainLoop', max_iters=112000, val_interval=400)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
param_scheduler = []
custom_hooks = [dict(type='mmirstd.CollapseGuardHook'), dict(type='mmirstd.SwitchToDeployHook')]
