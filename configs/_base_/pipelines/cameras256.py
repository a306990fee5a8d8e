"""As cameras128_ground.py on crops of 256 x 256, for the last stage of a training.

Trained on small crops alone, the fast SimIR finds large false targets in whole images.
"""

_base_ = './cameras128_ground.py'
crop_size = (256, 256)
train_pipeline = [dict(t, crop_size=crop_size) if 'crop_size' in t else t for t in _base_.train_pipeline]
