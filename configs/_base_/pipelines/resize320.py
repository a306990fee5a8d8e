"""UIUNet's: images resized to 320 x 320, whatever their shape, random crops of 288 x 288, vertical flips."""

_base_ = './resize256.py'
crop_size = (288, 288)
train_pipeline = [
    dict(_base_.train_pipeline[0], scale=(320, 320)),
    dict(_base_.train_pipeline[1], crop_size=crop_size),
    dict(type='RandomFlip', prob=0.5, direction='vertical'),
    _base_.train_pipeline[2],
]
