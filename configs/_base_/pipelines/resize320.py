"""UIUNet's: images resized to 320 x 320, whatever their shape, and random crops of 288 x 288."""

_base_ = './resize256.py'
crop_size = (288, 288)
train_pipeline = [
    dict(_base_.train_pipeline[0], scale=(320, 320)),
    dict(_base_.train_pipeline[1], crop_size=crop_size),
    _base_.train_pipeline[2],
]
