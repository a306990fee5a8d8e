"""Sixteen views of 128 x 128 of each training image of NUDT-SIRST, with masks; two of each validation image."""

_base_ = ['./nudt.py', '../pipelines/paste128.py']
parts = {
    name: dict(
        type='MultiImageMixDataset',
        dataset=dict(split=f'basicirstd/{name}', pipeline=_base_.load_pipeline, **_base_.part),
        pipeline=_base_.train_pipeline,
    )
    for name in ('subtrain', 'val', 'test')
}
views = dict(_delete_=True, type='mmirstd.IndexedViews')
train_dataloader = dict(dataset=dict(views=16, seed=0, dataset=parts['subtrain'], **views))
val_dataloader = dict(batch_size=8, dataset=dict(views=2, seed=1, dataset=parts['val'], **views))
test_dataloader = dict(batch_size=8, dataset=dict(views=2, seed=1, dataset=parts['test'], **views))
val_evaluator = dict(_delete_=True, type='mmirstd.HeldOutLossMetric')
test_evaluator = val_evaluator
