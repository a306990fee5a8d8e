_base_ = [
    '../_base_/models/adgfnet.py',
    '../_base_/datasets/nudt.py',
    '../_base_/schedules/adgfnet.py',
    '../_base_/default_runtime.py',
]
load = dict(type='mmirstd.LoadIRImage', channels=1)
train_pipeline = [
    load,
    dict(type='mmirstd.LoadTargetMask'),
    dict(type='mmirstd.TargetAwareCrop', crop_size=(256, 256), target_prob=0.5),
    # The two are drawn evenly from the eight symmetries of the square, as flips and a transposition of 0.5 each are.
    dict(type='RandomFlip', prob=0.5),
    dict(type='RandomRotFlip', rotate_prob=0.0, flip_prob=1.0),
    dict(type='PackSegInputs', meta_keys={{_base_.meta_keys}}),
]
test_pipeline = [load, *_base_.test_pipeline[1:]]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = dict(dataset=dict(pipeline=test_pipeline))
