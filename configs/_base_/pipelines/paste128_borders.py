"""As paste128.py; the borders of the image are seen more often, and targets that the crop cuts are ignored."""

_base_ = './paste128.py'
# Networks trained on plain crops find false targets at the borders of whole images.
train_pipeline = [dict(t, overshoot=64, cut_targets='ignore') if 'crop_size' in t else t for t in _base_.train_pipeline]
