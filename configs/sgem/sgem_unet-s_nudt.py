_base_ = [
    '../_base_/models/sgem_unet-s.py',
    '../_base_/datasets/nudt.py',
    '../_base_/schedules/sgem-s.py',
    '../_base_/default_runtime.py',
]
train_pipeline = [
    dict(type='mmirstd.LoadIRImage'),
    dict(type='mmirstd.LoadTargetMask'),
    dict(type='mmirstd.CopyPasteTargets', prob=0.5),
    dict(type='mmirstd.TargetAwareCrop', crop_size=(128, 128), target_prob=0.5, pad_mode='reflect'),
    dict(type='RandomFlip', prob=[0.25, 0.25], direction=['horizontal', 'vertical']),
    dict(type='PackSegInputs', meta_keys={{_base_.meta_keys}}),
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
