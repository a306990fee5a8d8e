_base_ = [
    '../_base_/models/sgem_unet.py',
    '../_base_/datasets/nuaa.py',
    '../_base_/schedules/sgem.py',
    '../_base_/default_runtime.py',
]
# Crops of the images as they are, without scale jitter. 1,500 epochs of 191 images.
train_pipeline = [
    dict(type='mmirstd.LoadIRImage'),
    dict(type='mmirstd.LoadTargetMask'),
    dict(type='mmirstd.TargetAwareCrop', crop_size=(256, 256), target_prob=0.5, pad_val=114),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackSegInputs', meta_keys={{_base_.meta_keys}}),
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
train_cfg = dict(max_iters=36000)
