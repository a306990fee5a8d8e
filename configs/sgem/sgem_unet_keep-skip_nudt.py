# The skip connection stays beside SGEM.
_base_ = './sgem_unet_nudt.py'
model = dict(neck=dict(keep_skip=True))
