"""As cameras192.py on crops of 128 x 128, of which twice as many fit into the time, and of borders as of the middle."""

_base_ = './cameras192.py'
crop_size = (128, 128)
# Networks trained on plain crops find false targets at the borders of whole images.
train_pipeline = [
    dict(t, crop_size=crop_size, overshoot=64, cut_targets='ignore') if 'crop_size' in t else t
    for t in _base_.train_pipeline
]
