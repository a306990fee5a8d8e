# The deep map is linearized by means over a grid of 8 x 8 cells instead of learned means.
_base_ = './sgem_unet_nudt.py'
model = dict(neck=dict(sgem=dict(linearization='grid')))
