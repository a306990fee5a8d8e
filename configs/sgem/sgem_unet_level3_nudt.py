# SGEM one level coarser: encoder level 4, decoder level 1.
_base_ = './sgem_unet_nudt.py'
model = dict(neck=dict(sgem_levels=(3,)))
