# Densely nested skips instead of SGEM: what the paper argues against.
_base_ = './sgem_unet_nudt.py'
model = dict(neck=dict(_delete_=True, type='mmirstd.DenseNestedDecoder', in_channels=[48, 72, 128, 256, 592]))
