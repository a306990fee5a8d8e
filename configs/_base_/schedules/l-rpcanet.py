"""L-RPCANet's training: RPCANet's at a rate of 1e-4."""

_base_ = './rpcanet.py'
optim_wrapper = dict(optimizer=dict(lr=1e-4))
