"""As joint.py with the real sets twice, NUAA-SIRST once more, and synthetic scenes without targets: one image in 21."""

_base_ = './joint.py'
nuaa, nudt, irstd1k, synthetic = _base_.train_dataloader.dataset.dataset.datasets
twice = [dict(type='RepeatDataset', times=2, dataset=d) for d in (nudt, irstd1k)]
# The stream of empty.py is another part, which no training sees.
empty = dict(synthetic, length=200, scene=dict(target_counts=[1.0]))
train_dataloader = dict(dataset=dict(dataset=dict(datasets=[dict(nuaa, times=4), *twice, synthetic, empty])))
