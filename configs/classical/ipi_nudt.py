# Infrared patch-image model (Gao et al., 2013).
_base_ = '../_base_/classical/nudt.py'
model = dict(backbone=dict(method='ipi'))
