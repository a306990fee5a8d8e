# Weighted strengthened local contrast measure (Han et al., 2021).
_base_ = '../_base_/classical/nudt.py'
model = dict(backbone=dict(method='wslcm'))
