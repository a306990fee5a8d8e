"""IRSAM with SAM's own encoder, ViT-B: WPMD and the early feature at its first layers of global attention."""

_base_ = './irsam_tinyvit.py'
_sam = dict(type='Pretrained', checkpoint='data/weights/sam_vit_b_01ec64.pth')
model = dict(
    backbone=dict(
        levels=(2, 5),
        backbone=dict(_delete_=True, type='mmirstd.SAMViT', arch='b', out_indices=(2,), with_cp=True, init_cfg=_sam),
    ),
    decode_head=dict(early_channels=768, init_cfg=_sam),
)
