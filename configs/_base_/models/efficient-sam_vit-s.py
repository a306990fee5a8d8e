"""EfficientSAM for plain fine-tuning, ViT-S."""

_base_ = './efficient-sam_vit-t.py'
_efficient_sam = dict(type='Pretrained', checkpoint='data/weights/efficient_sam_vits.pt')
model = dict(backbone=dict(arch='s', with_cp=True, init_cfg=_efficient_sam), decode_head=dict(init_cfg=_efficient_sam))
