"""What all models share: preparation of the images by ImageNet's mean and deviation, and whole images at test time."""

model = dict(
    type='EncoderDecoder',
    data_preprocessor=dict(
        type='mmirstd.IRSTDDataPreProcessor',
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
        pad_val=0,
        seg_pad_val=255,
        size=(256, 256),  # of training images, as the crops of the pipeline
        test_divisor=16,
    ),
    train_cfg=dict(),
    test_cfg=dict(mode='whole'),
)
