# Max-Median (Deshpande et al., 1999).
_base_ = '../_base_/classical/nudt.py'
model = dict(backbone=dict(method='max_median', length=15))
