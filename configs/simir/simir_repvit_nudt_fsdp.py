"""Parameters, gradients and optimizer state are shared out over the processes: docs/how-to/distributed.md.

Start it with tools/dist_train.sh; test its checkpoints with simir_repvit_nudt.py.
"""

_base_ = './simir_repvit_nudt.py'
runner_type = 'mmirstd.StrictFlexibleRunner'
strategy = dict(type='mmirstd.ShardedStrategy', shard=['RepViTBlock', 'RepViTDownsample'])
