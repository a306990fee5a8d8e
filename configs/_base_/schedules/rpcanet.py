"""RPCANet's training: Adam 5e-4 at batch 8, a polynomial to zero over 50 epochs, as the public code has it.

3,750 iterations are 50 epochs of the 597 NUDT-SIRST images that are left to train on beside the validation split.
"""

_base_ = './_loops.py'
max_iters = 3750
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='Adam', lr=5e-4))
train_cfg = dict(max_iters=max_iters)
param_scheduler = [dict(type='PolyLR', power=0.9, eta_min=0.0, by_epoch=False, begin=0, end=max_iters)]
# On a CPU the network then takes 0.6 of the time.
custom_hooks = [dict(type='mmirstd.ChannelsLastHook'), *_base_.custom_hooks]
