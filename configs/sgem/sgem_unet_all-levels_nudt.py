# SGEM at every level, no skip connection left.
_base_ = './sgem_unet_nudt.py'
model = dict(neck=dict(sgem_levels=(0, 1, 2, 3)))
