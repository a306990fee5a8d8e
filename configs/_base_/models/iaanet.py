"""IAANet (Wang et al., TGRS 2022). One gray channel.

The network that finds boxes starts from torchvision's ResNet-18 of ImageNet.
"""

_base_ = './_segmentor.py'
resnet18 = dict(
    type='mmirstd.TorchvisionResNet',
    depth=18,
    in_channels=1,
    num_stages=3,
    strides=(1, 2, 2),
    dilations=(1, 1, 1),
    out_indices=(2,),
    # The public code makes the first convolution anew, for one channel. init_cfg=None starts from random weights.
    load_stem=False,
    init_cfg=dict(type='Pretrained', checkpoint='data/weights/resnet18-f37072fd.pth'),
)
model = dict(
    data_preprocessor=dict(mean=[0.0], std=[255.0], bgr_to_rgb=False, size=(128, 128)),
    backbone=dict(type='mmirstd.InteriorEncoder', proposals=resnet18),
    decode_head=dict(
        type='mmirstd.InteriorAttentionHead',
        in_channels=[1, 256],
        # One epoch of MDFA.
        warmup_iters=1123,
        loss_decode=dict(type='mmirstd.BinaryCrossEntropyLoss', pos_weight=3.0),
    ),
)
