"""Two views of 256 x 256 of each training image of NUAA-SIRST, NUDT-SIRST and IRSTD-1k, without masks.

The three sets are drawn with equal weights. The images of the test splits are left out, and held-out images are those
of the validation splits, one view each. The views are made by `views_pipeline`.
"""

_base_ = ['../pipelines/test.py', '../pipelines/views256.py']
sets = [
    dict(type='mmirstd.NUAASIRSTDataset', data_root='data/NUAA-SIRST'),
    dict(type='mmirstd.NUDTSIRSTDataset', data_root='data/NUDT-SIRST'),
    dict(type='mmirstd.IRSTD1kDataset', data_root='data/IRSTD-1k'),
]
# Images alone, in which case masks need not be there.
images = dict(use_masks=False, cache='memory', pipeline={{_base_.load_pipeline}})
# Sets that have masks may be joined with them.
joined = dict(type='ConcatDataset', ignore_keys=['has_masks'])
parts = {
    name: dict(
        type='MultiImageMixDataset',
        dataset=dict(datasets=[dict(split=f'basicirstd/{name}', **s, **images) for s in sets], **joined),
        pipeline={{_base_.views_pipeline}},
    )
    for name in ('subtrain', 'val', 'test')
}
workers = dict(num_workers=2, persistent_workers=True)
train_dataloader = dict(
    batch_size=8,
    sampler=dict(type='mmirstd.WeightedSetsSampler', weights=[1.0, 1.0, 1.0]),
    dataset=dict(type='mmirstd.IndexedViews', views=2, seed=0, dataset=parts['subtrain']),
    **workers,
)
val_dataloader = dict(
    batch_size=8,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(type='mmirstd.IndexedViews', views=1, seed=1, dataset=parts['val']),
    **workers,
)
test_dataloader = dict(
    batch_size=8,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(type='mmirstd.IndexedViews', views=1, seed=1, dataset=parts['test']),
    **workers,
)
val_evaluator = dict(type='mmirstd.HeldOutLossMetric')
test_evaluator = val_evaluator
