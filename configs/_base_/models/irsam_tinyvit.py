"""IRSAM: MobileSAM's TinyViT with WPMD after its first two stages, SAM's mask decoder with the edge token (GAD).

Starts from MobileSAM's weights, full fine-tuning. The network works at `inside_size` pixels on the longer side,
whatever the size of the image: 1024 as SAM, or 512 or 256, which cost about a quarter and a sixteenth.
"""

_base_ = './_segmentor.py'
_mobile_sam = dict(type='Pretrained', checkpoint='data/weights/mobile_sam.pt')
model = dict(
    data_preprocessor=dict(size=(512, 512), inside_size=1024),
    backbone=dict(
        type='mmirstd.DiffusedBackbone',
        levels=(0, 1),
        # The pre-trained network starts undisturbed.
        block=dict(gate=0.0),
        backbone=dict(type='mmirstd.TinyViT', arch='5m', out_indices=(1,), out_merged=True, init_cfg=_mobile_sam),
    ),
    decode_head=dict(
        type='mmirstd.GranularityAwareHead',
        in_channels=256,
        channels=256,
        early_channels=160,
        fuse='early+deep',
        edge_target='boundary',
        # Over the batch as published, but its logarithm: the published form (irsam_tinyvit_released_nuaa.py) may learn
        # to predict nothing, and has no gradient to come back from there (docs/concepts/irsam.md).
        loss_decode=dict(type='mmirstd.SoftIoULoss', per_image=False, log=True),
        loss_edge=dict(type='mmirstd.BinaryCrossEntropyLoss', loss_weight=5.0, loss_name='loss_edge'),
        init_cfg=_mobile_sam,
    ),
)
