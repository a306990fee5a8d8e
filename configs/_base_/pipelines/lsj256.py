"""Large-scale jitter before random crops of 256 x 256: the image fits a square of 0.1 to 2.0 times the crop."""

_base_ = './random256.py'
crop_size = (256, 256)
ratio_range = (0.1, 2.0)
jitter = dict(
    type='RandomResize', resize_type='mmirstd.AlignedResize', scale=crop_size, ratio_range=ratio_range, keep_ratio=True
)
train_pipeline = [jitter, *_base_.train_pipeline]
