# Batch norm before the softmax keeps SGEM's matrix from becoming a constant.
_base_ = './sgem_unet-s_nudt.py'
model = dict(neck=dict(sgem=dict(norm=True)))
