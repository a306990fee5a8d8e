# Partial sum of the tensor nuclear norm (Zhang and Peng, 2019).
_base_ = '../_base_/classical/irstd1k.py'
model = dict(backbone=dict(method='pstnn'))
