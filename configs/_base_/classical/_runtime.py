"""Detectors without weights: the model without its method, testing, and no training."""

_base_ = ['../models/_segmentor.py', '../default_runtime.py']
model = dict(
    type='mmirstd.ClassicalSegmentor',
    # Gray levels of 0 to 255, as they are.
    data_preprocessor=dict(mean=[0.0], std=[1.0], bgr_to_rgb=False, test_divisor=1),
    backbone=dict(type='mmirstd.ClassicalDetector'),
    # Or rule='mean_std', 'otsu', 'budget', with number=... of the rule.
    decode_head=dict(type='mmirstd.ThresholdHead', rule='fixed', number=None),
)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
