# RepViT under MMSegmentation's UPerHead.
_base_ = [
    'mmirstd::_base_/models/repvit_upernet.py',
    'mmirstd::_base_/datasets/nudt.py',
    'mmirstd::_base_/pipelines/crop256.py',
    'mmirstd::_base_/schedules/simir.py',
    'mmirstd::_base_/default_runtime.py',
]
train_dataloader = dict(dataset=dict(pipeline={{_base_.train_pipeline}}))
