# Three-layer local contrast measure (Han et al., 2020).
_base_ = '../_base_/classical/nuaa.py'
model = dict(backbone=dict(method='tllcm'))
