"""Parameters, gradients and optimizer state are shared out over the processes: docs/how-to/distributed.md.

Start it with tools/dist_train.sh; test its checkpoints with simir_repvit_nudt.py.
"""

_base_ = './simir_repvit_nudt.py'
runner_type = 'mmirstd.StrictFlexibleRunner'
# Sharding brings a mixed precision of its own: strategy.model_wrapper.mixed_precision.
optim_wrapper = dict(type='OptimWrapper')
strategy = dict(type='mmirstd.ShardedStrategy', shard=['RepViTBlock', 'RepViTDownsample'])
