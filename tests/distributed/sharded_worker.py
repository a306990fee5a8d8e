"""One process of runs with sharded parameters, and of the same run without."""

import copy

import pytest
import torch
from mmengine.config import Config
from mmengine.dist import barrier, is_main_process
from mmengine.registry import RUNNERS
from torch.distributed.fsdp import FullyShardedDataParallel

from mmirstd.checkpoints.state_dict import CheckpointError
from mmirstd.engine import StrictFlexibleRunner
from mmirstd.engine.distributed import start_gloo_on_cpu, stop_distributed
from mmirstd.utils.data_root import set_data_root

STRATEGY = dict(type='mmirstd.ShardedStrategy', shard=['RepViTBlock', 'RepViTDownsample'])
NORM = 0.1


def build(base, name, sharded, **changes):
    cfg = copy.deepcopy(base)
    cfg.merge_from_dict({'work_dir': f'{base.work_dir}/{name}', 'experiment_name': name, **changes})
    if sharded:
        cfg.runner_type, cfg.strategy = 'mmirstd.StrictFlexibleRunner', copy.deepcopy(STRATEGY)
    return RUNNERS.build(cfg)


def run(path, data, out):
    """Train four iterations sharded and not, and sharded with an interruption after two."""
    start_gloo_on_cpu('pytorch')
    cfg = Config.fromfile(path)
    set_data_root(cfg, str(data))
    for part in (cfg.model.backbone.backbone, cfg.model.neck):
        part.with_cp = True
    cfg.default_hooks.checkpoint.interval = 2
    cfg.work_dir, cfg.launcher = str(out), 'pytorch'
    optimizer = dict(type='SGD', lr=0.1, momentum=0.9, weight_decay=0.01)
    cfg.optim_wrapper = dict(type='OptimWrapper', optimizer=optimizer, clip_grad=dict(max_norm=NORM))

    plain = build(cfg, 'plain', False)
    plain.train()
    norms = plain.message_hub.get_scalar('train/grad_norm').data[0]
    assert min(norms) > NORM  # it is clipped

    runner = build(cfg, 'sharded', True)
    assert type(runner) is StrictFlexibleRunner
    runner.train()
    assert runner.started
    assert sum(isinstance(m, FullyShardedDataParallel) for m in runner.model.modules()) == 5
    own = sum(p.numel() for p in runner.model.parameters())
    assert own < 0.6 * sum(p.numel() for p in plain.model.parameters())
    assert runner.message_hub.get_scalar('train/grad_norm').data[0] == pytest.approx(norms, rel=1e-4)

    build(cfg, 'cut', True, **{'train_cfg.max_iters': 2}).train()
    barrier()
    build(cfg, 'resumed', True, load_from=f'{out}/cut/iter_2.pth', resume=True).train()

    if is_main_process():
        content = torch.load(out / 'sharded/iter_4.pth', weights_only=False)
        del content['state_dict']['backbone.sparse.queries']
        torch.save(content, out / 'other.pth')
    barrier()
    with pytest.raises(
        CheckpointError, match=r'another model than the config .*EncoderDecoder.* 1 missing keys \(backb'
    ):
        build(cfg, 'other', True, load_from=f'{out}/other.pth').train()
    stop_distributed(plain)
