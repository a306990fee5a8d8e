"""EGPNet's training: Adagrad 0.02 at batch 1, halved every 30 of 200 epochs.

119,400 iterations are 200 epochs of the 597 NUDT-SIRST images that are left to train on beside the validation split.
"""

_base_ = './_loops.py'
epoch = 597
max_iters = 200 * epoch
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='Adagrad', lr=0.02, weight_decay=1e-4))
train_cfg = dict(max_iters=max_iters)
param_scheduler = [dict(type='StepLR', step_size=30 * epoch, gamma=0.5, by_epoch=False)]
