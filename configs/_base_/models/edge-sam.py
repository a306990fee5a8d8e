"""EdgeSAM for plain fine-tuning: a RepViT of the first version, EdgeSAM's neck, SAM's mask decoder.

9.02 M parameters, 5.52 M of them in the encoder. The published weights are for non-commercial use.
"""

_base_ = './mobile-sam.py'
_edge_sam = dict(type='Pretrained', checkpoint='data/weights/edge_sam_3x.pth')
model = dict(
    # Twice the stride of the neck's output.
    data_preprocessor=dict(test_divisor=32),
    backbone=dict(
        _delete_=True, type='mmirstd.RepViT', arch='m0_9', branch_norm=True, out_indices=(2, 3), init_cfg=_edge_sam
    ),
    neck=dict(type='mmirstd.EdgeSAMNeck', in_channels=[192, 384], init_cfg=_edge_sam),
    decode_head=dict(init_cfg=_edge_sam),
)
