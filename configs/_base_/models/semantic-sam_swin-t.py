"""Semantic-SAM's encoder for plain fine-tuning: MMSegmentation's SwinTransformer, a pyramid, SAM's mask decoder.

The checkpoint is what `mmirstd convert swin` makes of Semantic-SAM's. Inside 512 pixels the pyramid's finest map has
the 64 x 64 positions that SAM's decoder has at 1024.
"""

_base_ = './mobile-sam.py'
model = dict(
    data_preprocessor=dict(inside_size=512, test_divisor=32),
    backbone=dict(
        _delete_=True,
        type='SwinTransformer',
        embed_dims=96,
        depths=(2, 2, 6, 2),
        num_heads=(3, 6, 12, 24),
        window_size=7,
        drop_path_rate=0.3,
        out_indices=(1, 2, 3),
        init_cfg=dict(type='Pretrained', checkpoint='data/weights/semantic-sam_swin-t.pth'),
    ),
    neck=dict(type='mmirstd.TinyFPN', in_channels=[192, 384, 768], out_channels=256),
    decode_head=dict(in_index=0, init_cfg=None),
)
