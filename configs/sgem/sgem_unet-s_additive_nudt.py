# SGEM's matrix is added to the deep map, as the equations say, and weighs no values.
_base_ = './sgem_unet-s_nudt.py'
model = dict(neck=dict(sgem=dict(reading='additive')))
