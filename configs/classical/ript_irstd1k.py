# Reweighted infrared patch-tensor model (Dai and Wu, 2017).
_base_ = '../_base_/classical/irstd1k.py'
model = dict(backbone=dict(method='ript'))
