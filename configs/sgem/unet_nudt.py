# The plain U-Net: a skip connection at every level.
_base_ = './sgem_unet_nudt.py'
model = dict(neck=dict(sgem_levels=()))
