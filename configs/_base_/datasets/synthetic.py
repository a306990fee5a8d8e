# Scenes rendered on the fly: no files. Parts have disjoint random streams; `scene` takes the fields of SceneConfig.
dataset_type = 'mmirstd.SyntheticIRSTDDataset'
crop_size = (256, 256)
scene = dict()
seed = 0
meta_keys = (
    'img_id',
    'img_path',
    'seg_map_path',
    'ori_shape',
    'img_shape',
    'pad_shape',
    'scale_factor',
    'flip',
    'flip_direction',
    'reduce_zero_label',
)
train_pipeline = [
    dict(type='mmirstd.RenderScene'),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackSegInputs', meta_keys=meta_keys),
]
test_pipeline = [
    dict(type='mmirstd.RenderScene'),
    dict(type='PackSegInputs', meta_keys=meta_keys),
]
train_dataloader = dict(
    batch_size=8,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=dict(
        type=dataset_type, length=4096, size=crop_size, part='train', seed=seed, scene=scene, pipeline=train_pipeline
    ),
)
val_dataloader = dict(
    batch_size=8,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type=dataset_type,
        length=100,
        size=crop_size,
        part='val',
        seed=seed,
        scene=scene,
        pipeline=test_pipeline,
        test_mode=True,
    ),
)
test_dataloader = dict(
    batch_size=8,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type=dataset_type,
        length=200,
        size=crop_size,
        part='test',
        seed=seed,
        scene=scene,
        pipeline=test_pipeline,
        test_mode=True,
    ),
)
val_evaluator = dict(type='mmirstd.IRSTDMetric')
test_evaluator = val_evaluator
