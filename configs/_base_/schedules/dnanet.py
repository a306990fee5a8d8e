"""DNANet's training: Adagrad 0.05 at batch 4, cosine to 1e-5 over 1,500 epochs.

225,000 iterations are 1,500 epochs of the 597 NUDT-SIRST images that are left to train on beside the validation split.
"""

_base_ = './_loops.py'
max_iters = 225000
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='Adagrad', lr=0.05))
train_cfg = dict(max_iters=max_iters)
param_scheduler = [dict(type='CosineAnnealingLR', eta_min=1e-5, by_epoch=False, begin=0, end=max_iters)]
