"""IRSAM without WPMD: MobileSAM's TinyViT as it is, SAM's mask decoder with the edge token (GAD)."""

_base_ = './irsam_tinyvit.py'
_mobile_sam = dict(type='Pretrained', checkpoint='data/weights/mobile_sam.pt')
model = dict(
    backbone=dict(
        _delete_=True, type='mmirstd.TinyViT', arch='5m', out_indices=(1,), out_merged=True, init_cfg=_mobile_sam
    )
)
