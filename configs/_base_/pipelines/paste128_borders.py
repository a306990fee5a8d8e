"""As paste128.py; the borders of the image are seen more often, and targets that the crop cuts are ignored."""

_base_ = './paste128.py'
# Without these, half of the false targets lie within 4 pixels of the image's border.
train_pipeline = [
    dict(t, overshoot=64, cut_targets='ignore') if t['type'] == 'mmirstd.TargetAwareCrop' else t
    for t in _base_.train_pipeline
]
