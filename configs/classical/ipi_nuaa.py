# Infrared patch-image model (Gao et al., 2013).
_base_ = '../_base_/classical/nuaa.py'
model = dict(backbone=dict(method='ipi'))
