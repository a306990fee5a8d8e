# SGEM one level finer: encoder level 2, decoder level 3.
_base_ = './sgem_unet_nudt.py'
model = dict(neck=dict(sgem_levels=(1,)))
