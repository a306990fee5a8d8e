"""BasicIRSTD's training: Adam 5e-4 at batch 16, a tenth from a half and from three quarters of 400 epochs.

Its code overwrites the factor of 0.5 that its option has.

15,200 iterations are 400 epochs of the 597 NUDT-SIRST images that are left to train on beside the validation split.
"""

_base_ = './_loops.py'
max_iters = 15200
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='Adam', lr=5e-4))
train_cfg = dict(max_iters=max_iters)
param_scheduler = [dict(type='MultiStepLR', by_epoch=False, milestones=[max_iters // 2, 3 * max_iters // 4], gamma=0.1)]
