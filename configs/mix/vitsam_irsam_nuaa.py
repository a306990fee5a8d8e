# IRSAM on mmpretrain's SAM encoder (pip install mmpretrain or onedl-mmpretrain). It sends every map through its neck.
_base_ = 'mmirstd::irsam/irsam_samvit-b_nuaa.py'
custom_imports = dict(imports=['mmpretrain.models'])
model = dict(
    backbone=dict(
        backbone=dict(_delete_=True, type='mmpretrain.ViTSAM', arch='base', img_size=1024, out_indices=(2, 11)),
    ),
    decode_head=dict(early_channels=256),
)
