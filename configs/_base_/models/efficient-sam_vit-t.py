"""EfficientSAM for plain fine-tuning: a plain ViT-T of global attention, EfficientSAM's mask decoder.

Position embeddings are for 224 pixels and enlarged to the map in each forward pass, as the authors' code does it.
"""

_base_ = './mobile-sam.py'
_efficient_sam = dict(type='Pretrained', checkpoint='data/weights/efficient_sam_vitt.pt')
model = dict(
    backbone=dict(
        _delete_=True,
        type='mmirstd.SAMViT',
        arch='t',
        img_size=224,
        rel_pos=False,
        antialias=False,
        init_cfg=_efficient_sam,
    ),
    decode_head=dict(type='mmirstd.EfficientSAMHead', init_cfg=_efficient_sam),
)
