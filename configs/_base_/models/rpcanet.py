"""RPCANet (Wu et al., WACV 2024). One gray channel in [0, 1]."""

_base_ = './_segmentor.py'
model = dict(
    data_preprocessor=dict(mean=[0.0], std=[255.0], bgr_to_rgb=False, test_divisor=1),
    backbone=dict(type='mmirstd.UnfoldedRPCA', num_stages=6, channels=32),
    decode_head=dict(
        type='mmirstd.UnfoldingHead', reconstruction_weight=0.01, loss_decode=dict(type='mmirstd.SoftIoULoss')
    ),
)
