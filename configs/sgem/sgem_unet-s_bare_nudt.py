# The control: neither a skip connection nor SGEM at level 2.
_base_ = './sgem_unet-s_nudt.py'
model = dict(neck=dict(sgem_levels=(), bare_levels=(2,)))
