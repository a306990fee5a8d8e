# The other reading of SGEM: its matrix weighs a value path.
_base_ = './sgem_unet-s_nudt.py'
model = dict(neck=dict(sgem=dict(reading='value')))
