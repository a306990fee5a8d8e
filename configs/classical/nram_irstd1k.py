# Non-convex rank approximation minimization (Zhang et al., 2018).
_base_ = '../_base_/classical/irstd1k.py'
model = dict(backbone=dict(method='nram'))
