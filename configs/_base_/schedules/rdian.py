"""RDIAN's training: ACM's at a tenth of its rate."""

_base_ = './acm.py'
optim_wrapper = dict(optimizer=dict(lr=0.005))
