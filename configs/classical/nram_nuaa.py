# Non-convex rank approximation minimization (Zhang et al., 2018).
_base_ = '../_base_/classical/nuaa.py'
model = dict(backbone=dict(method='nram'))
