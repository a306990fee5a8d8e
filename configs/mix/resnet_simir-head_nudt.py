# SimIR's FPN queries and decoder behind MMSegmentation's ResNet-18.
_base_ = [
    'mmirstd::_base_/models/resnet_simir-head.py',
    'mmirstd::_base_/datasets/nudt.py',
    'mmirstd::_base_/pipelines/crop256.py',
    'mmirstd::_base_/schedules/simir.py',
    'mmirstd::_base_/default_runtime.py',
]
train_dataloader = dict(dataset=dict(pipeline={{_base_.train_pipeline}}))
