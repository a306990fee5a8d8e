"""As cameras128.py with more crops from anywhere, most of which show no target."""

_base_ = './cameras128.py'
train_pipeline = [dict(t, target_prob=0.4) if 'crop_size' in t else t for t in _base_.train_pipeline]
