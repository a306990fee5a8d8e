"""Scenes rendered on the fly: no files. Parts have disjoint random streams; `scene` takes the fields of SceneConfig."""

_base_ = './_loaders.py'
size = (256, 256)
scene = dict()
part = dict(type='mmirstd.SyntheticIRSTDDataset', size=size, seed=0, scene=scene)
train_dataloader = dict(
    dataset=dict(dataset=dict(length=4096, part='train', pipeline={{_base_.load_pipeline}}, **part))
)
val_dataloader = dict(batch_size=8, dataset=dict(length=100, part='val', pipeline={{_base_.test_pipeline}}, **part))
test_dataloader = dict(batch_size=8, dataset=dict(length=200, part='test', pipeline={{_base_.test_pipeline}}, **part))
