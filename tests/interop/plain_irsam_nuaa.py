# IRSAM's released layout on timm's and segment-anything's parts, to be timed; needs PYTHONPATH=tests/interop.
_base_ = '../../configs/irsam/irsam_tinyvit_released_nuaa.py'
custom_imports = dict(imports=['plain_irsam'])
model = dict(
    backbone=dict(_delete_=True, type='mmirstd.PlainTinyViT'),
    decode_head=dict(_delete_=True, type='mmirstd.PlainEdgeHead', loss_decode={{_base_.model.decode_head.loss_decode}}),
)
