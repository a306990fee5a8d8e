"""Semantic-SAM's encoder for plain fine-tuning, Swin-L."""

_base_ = './semantic-sam_swin-t.py'
model = dict(
    backbone=dict(
        embed_dims=192,
        depths=(2, 2, 18, 2),
        num_heads=(6, 12, 24, 48),
        window_size=12,
        with_cp=True,
        init_cfg=dict(checkpoint='data/weights/semantic-sam_swin-l.pth'),
    ),
    neck=dict(in_channels=[384, 768, 1536]),
)
