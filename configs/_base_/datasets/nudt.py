# NUDT-SIRST, 663/664: subtrain + val = 663 training images.
dataset_type = 'mmirstd.NUDTSIRSTDataset'
data_root = 'data/NUDT-SIRST'
crop_size = (256, 256)
meta_keys = ('img_id', 'img_path', 'seg_map_path', 'ori_shape', 'img_shape', 'scale_factor', 'flip', 'flip_direction')
train_pipeline = [
    dict(type='mmirstd.LoadIRImage'),
    dict(type='mmirstd.LoadTargetMask'),
    # Images are 256 x 256: this crops only where a config asks for less.
    dict(type='mmirstd.TargetAwareCrop', crop_size=crop_size, target_prob=0.5, pad_val=114),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackSegInputs', meta_keys=meta_keys),
]
test_pipeline = [
    dict(type='mmirstd.LoadIRImage'),
    dict(type='mmirstd.LoadTargetMask'),
    dict(type='PackSegInputs', meta_keys=meta_keys),
]
train_dataloader = dict(
    batch_size=8,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=dict(type=dataset_type, data_root=data_root, split='basicirstd/subtrain', pipeline=train_pipeline),
)
val_dataloader = dict(
    batch_size=1,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type=dataset_type, data_root=data_root, split='basicirstd/val', pipeline=test_pipeline, test_mode=True
    ),
)
test_dataloader = dict(
    batch_size=1,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type=dataset_type, data_root=data_root, split='basicirstd/test', pipeline=test_pipeline, test_mode=True
    ),
)
val_evaluator = dict(type='mmirstd.IRSTDMetric')
test_evaluator = val_evaluator
