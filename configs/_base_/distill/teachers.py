"""Teachers, by what they are; a config takes one as `model = dict(teacher=_base_.NAME)`.

`inside_size` is the longer side at which the teacher sees a view: 512 for a CPU, 1024 as SAM was trained.
"""

_imagenet = dict(
    type='mmirstd.IRSTDDataPreProcessor', mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], bgr_to_rgb=True
)
mobile_sam = dict(
    model=dict(
        type='mmirstd.TinyViT', arch='5m', init_cfg=dict(type='Pretrained', checkpoint='data/weights/mobile_sam.pt')
    ),
    data_preprocessor=dict(inside_size=512, **_imagenet),
)
sam_vit_b = dict(
    model=dict(
        type='mmirstd.SAMViT',
        arch='b',
        init_cfg=dict(type='Pretrained', checkpoint='data/weights/sam_vit_b_01ec64.pth'),
    ),
    data_preprocessor=dict(inside_size=1024, **_imagenet),
)
# Its backbone with the weights that the config names; three maps, at strides 8, 16 and 32.
semantic_sam_swin_l = dict(
    model='mmirstd::irsam/semantic-sam_swin-l_nuaa.py', data_preprocessor=dict(inside_size=1024, **_imagenet)
)
# `mmirstd convert adgfnet` makes the file of the published one.
adgfnet_nudt = dict(model='mmirstd::baselines/adgfnet_nudt.py', checkpoint='data/weights/adgfnet_nudt.pth')
# What `mmirstd train mobile-sam_nuaa` and `mmirstd publish` make.
mobile_sam_nuaa = dict(model='mmirstd::irsam/mobile-sam_nuaa.py', checkpoint='data/weights/mobile-sam_nuaa.pth')
