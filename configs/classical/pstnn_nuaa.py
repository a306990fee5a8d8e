# Partial sum of the tensor nuclear norm (Zhang and Peng, 2019).
_base_ = '../_base_/classical/nuaa.py'
model = dict(backbone=dict(method='pstnn'))
