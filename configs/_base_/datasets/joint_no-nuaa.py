"""joint.py without NUAA-SIRST, on whose test split models are then tested: images of cameras never seen."""

_base_ = './joint.py'
parts = dict(train=_base_.train_dataloader.dataset.dataset, val=_base_.val_dataloader.dataset)
others = {key: [d for i, d in enumerate(part.datasets) if i != 0] for key, part in parts.items()}
train_dataloader = dict(dataset=dict(dataset=dict(datasets=others['train'])))
val_dataloader = dict(dataset=dict(datasets=others['val']))
test_dataloader = dict(dataset=dict(datasets=[_base_.test_dataloader.dataset.datasets[0]]))
