# Reweighted infrared patch-tensor model (Dai and Wu, 2017).
_base_ = '../_base_/classical/nudt.py'
model = dict(backbone=dict(method='ript'))
