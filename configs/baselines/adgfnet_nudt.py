_base_ = [
    '../_base_/models/adgfnet.py',
    '../_base_/datasets/nudt.py',
    '../_base_/pipelines/crop256_symmetries.py',
    '../_base_/schedules/adgfnet.py',
    '../_base_/default_runtime.py',
]
load = dict(type='mmirstd.LoadIRImage', channels=1)
train_dataloader = dict(
    dataset=dict(dataset=dict(pipeline=[load, *_base_.load_pipeline[1:]]), pipeline=_base_.train_pipeline)
)
test_pipeline = [dict(_base_.test_pipeline[0], channels=1), *_base_.test_pipeline[1:]]
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
