"""As paste128.py, with jitter of scale and of gray levels.

In NUAA-SIRST, gray levels differ more from camera to camera than between the 191 training images.
"""

_base_ = './paste128.py'
jitter = dict(
    type='RandomResize', resize_type='mmirstd.AlignedResize', scale=(256, 256), ratio_range=(0.7, 1.5), keep_ratio=True
)
train_pipeline = [
    jitter,
    *_base_.train_pipeline[:2],
    dict(type='PhotoMetricDistortion'),
    *_base_.train_pipeline[2:],
]
