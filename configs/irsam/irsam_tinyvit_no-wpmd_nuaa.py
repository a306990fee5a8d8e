_base_ = './irsam_tinyvit_nuaa.py'
model = dict(
    backbone=dict(
        _delete_=True,
        type='mmirstd.TinyViT',
        arch='5m',
        out_indices=(1,),
        out_merged=True,
        init_cfg=dict(type='Pretrained', checkpoint='data/weights/mobile_sam.pt'),
    )
)
