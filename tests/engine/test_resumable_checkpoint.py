import itertools
import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import Hook

from mmirstd.checkpoints.loading import latest_checkpoint, load_file
from mmirstd.checkpoints.state_dict import CheckpointError
from mmirstd.engine import ResumableCheckpointHook
from mmirstd.registry import RUNNERS
from mmirstd.utils.random_state import rng_state

sys.path.insert(0, str(Path(__file__).parent))
from kill_and_resume import differences

RANDOM = """
augment = [dict(type='mmirstd.TargetAwareCrop', crop_size=(24, 24)), dict(type='RandomFlip', prob=0.5)]
train_dataloader.update(dataset=dict(**dataset | dict(pipeline=[*pipeline[:2], *augment, pipeline[2]])))
model['decode_head'].update(dropout_ratio=0.4)
default_hooks.update(visualization=dict(draw=False))
"""
KEEP_ALL = RANDOM + 'default_hooks.update(checkpoint=dict(interval=2, max_keep_ckpts=-1))\n'
BY_EPOCH = (
    RANDOM
    + """
train_dataloader.update(sampler=dict(type='DefaultSampler', shuffle=True), num_workers=1, persistent_workers=True)
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=4, val_interval=2)
param_scheduler = [dict(type='PolyLR', eta_min=1e-4, power=0.9, begin=0, end=4, by_epoch=True)]
default_hooks.update(checkpoint=dict(by_epoch=True, interval=1, max_keep_ckpts=-1))
log_processor = dict(by_epoch=True)
"""
)


@pytest.fixture
def make(tiny_config, tmp_path):
    """Build a runner from the tiny config with text added; each has a name of its own."""
    names = (f'{tmp_path.name}{i}' for i in itertools.count())

    def build(extra='', work_dir='run', **changes):
        cfg = Config.fromfile(tiny_config(extra))
        cfg.merge_from_dict({'work_dir': str(tmp_path / work_dir), 'experiment_name': next(names), **changes})
        return RUNNERS.build(cfg)

    return build


def names(folder):
    return sorted(p.name for p in Path(folder).iterdir() if p.is_file())


def hook_of(runner):
    return next(h for h in runner.hooks if isinstance(h, ResumableCheckpointHook))


@pytest.mark.parametrize(
    ('extra', 'middle', 'end'),
    [(KEEP_ALL, 'iter_4.pth', 'iter_6.pth'), (BY_EPOCH, 'epoch_3.pth', 'epoch_4.pth')],
    ids=['iterations', 'epochs'],
)
@pytest.mark.parametrize('seed', [0, None])
def test_resumed_run_ends_with_the_same_bits(make, tmp_path, extra, middle, end, seed):
    extra += f'randomness = dict(seed={seed})\n'
    make(extra, work_dir='whole').train()
    torch.rand(5)  # the process is somewhere else
    make(extra + 'resume = True\n', work_dir='resumed', load_from=str(tmp_path / 'whole' / middle)).train()
    one, other = (load_file(tmp_path / run / end) for run in ('whole', 'resumed'))
    for key in ('state_dict', 'optimizer', 'param_schedulers'):
        assert not differences(one[key], other[key])
    assert not differences(one['meta']['rng'], other['meta']['rng'])


def test_old_checkpoint_goes_after_the_new_one_is_complete(make, tmp_path, monkeypatch):
    runner = make(RANDOM + 'default_hooks.update(checkpoint=dict(interval=1, max_keep_ckpts=1))\n')
    seen = []
    replace = os.replace

    def spy(source, target):
        before = [n for n in names(tmp_path / 'run') if n.endswith('.pth')]
        replace(source, target)
        seen.append((Path(target).name, before))
        load_file(target)

    monkeypatch.setattr(os, 'replace', spy)
    runner.train()
    lasts = [(name, [b for b in before if b.startswith('iter')]) for name, before in seen if name.startswith('iter')]
    assert lasts[:2] == [('iter_1.pth', []), ('iter_2.pth', ['iter_1.pth'])]
    bests = [(name, [b for b in before if b.startswith('best')]) for name, before in seen if name.startswith('best')]
    assert all(before for _, before in bests[1:]), 'the best so far is there until the better one is'
    assert [n for n in names(tmp_path / 'run') if n.startswith('iter')] == ['iter_6.pth']
    assert len([n for n in names(tmp_path / 'run') if n.startswith('best')]) == 1
    assert not any(n.endswith('.tmp') for n in names(tmp_path / 'run'))


@pytest.fixture
def file_size_limit():
    """Let files grow to some bytes only, as on a disk that is nearly full; the kernel then fails the write."""
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))


def test_a_full_disk_leaves_the_last_checkpoint(make, tmp_path, file_size_limit):
    class Fill(Hook):
        def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
            if batch_idx == 4:
                file_size_limit(20_000)

    runner = make(KEEP_ALL)
    runner.register_hook(Fill())
    with pytest.raises(
        CheckpointError, match=r'cannot write .*iter_6\.pth: File too large; checkpoints written before'
    ):
        runner.train()
    file_size_limit(resource.RLIM_INFINITY if resource.getrlimit(resource.RLIMIT_FSIZE)[1] < 0 else 1 << 40)
    run = tmp_path / 'run'
    assert latest_checkpoint(str(run)) == str(run / 'iter_4.pth')
    load_file(run / 'iter_4.pth')
    assert not any(n.endswith('.tmp') for n in names(run))


def test_rubbish_of_a_killed_run_is_removed(make, tmp_path):
    (tmp_path / 'run').mkdir()
    (tmp_path / 'run/.iter_2.pth.4711.tmp').write_bytes(b'half')
    make(**{'train_cfg.max_iters': 2}).train()
    assert '.iter_2.pth.4711.tmp' not in names(tmp_path / 'run')


@pytest.mark.parametrize('at', [3, 6])
def test_validation_that_is_still_due_comes_first(make, tmp_path, at):
    class Die(Hook):
        def before_val_epoch(self, runner):
            if runner.iter == at:
                raise KeyboardInterrupt

    whole = make(RANDOM, work_dir='whole')
    whole.train()
    runner = make(RANDOM)
    runner.register_hook(Die())
    with pytest.raises(KeyboardInterrupt):
        runner.train()
    assert latest_checkpoint(str(tmp_path / 'run')).endswith(f'iter_{at}.pth')
    resumed = make(RANDOM + 'resume = True\n', load_from=str(tmp_path / f'run/iter_{at}.pth'))
    resumed.train()
    assert names(tmp_path / 'run') == names(tmp_path / 'whole')
    for name in names(tmp_path / 'run'):
        if name.endswith('.pth'):
            one, other = (load_file(tmp_path / run / name)['state_dict'] for run in ('run', 'whole'))
            assert not differences(one, other)


def test_validation_that_was_done_is_not_done_again(make, tmp_path):
    make(RANDOM).train()
    calls = []

    class Count(Hook):
        def before_val_epoch(self, runner):
            calls.append(runner.iter)

    best = next((tmp_path / 'run').glob('best*'))  # its checkpoint was written again after the validation
    step = int(best.stem.rsplit('_', 1)[1])
    again = make(RANDOM + 'resume = True\n', load_from=str(tmp_path / f'run/iter_{step}.pth'))
    again.register_hook(Count())
    again.train()
    assert step not in calls


def test_validation_leaves_the_generators(make):
    class Draw(Hook):
        def before_val_iter(self, runner, batch_idx, data_batch=None):
            torch.rand(3)

    runner = make(RANDOM)
    runner.register_hook(Draw())
    before = rng_state()
    runner.val()  # alone, without training: nothing is the best of a run
    assert not differences(before['torch'], rng_state()['torch'])
    assert not [n for n in names(runner.work_dir) if n.endswith('.pth')]


def test_generators_of_other_processes_are_not_taken(make, tmp_path, caplog):
    make(KEEP_ALL, **{'train_cfg.max_iters': 2}).train()
    path = tmp_path / 'run/iter_2.pth'
    content = torch.load(path, weights_only=False)
    content['meta']['rng'] *= 2
    torch.save(content, path)
    runner = make(KEEP_ALL + 'resume = True\n', load_from=str(path))
    warnings = []
    runner.logger.warning = warnings.append
    runner.train()
    assert any('generators of 2 processes, and there are 1' in w for w in warnings)


def test_checkpoint_between_accumulated_gradients_is_said(make):
    runner = make(KEEP_ALL, **{'optim_wrapper.accumulative_counts': 3})
    warnings = []
    runner.logger.warning = warnings.append
    runner.train()
    assert sum('gradients are accumulated over 3 iterations' in w for w in warnings) == 1


def test_killed_and_resumed(all_tests):
    kills = 50 if all_tests else 2
    script = Path(__file__).parent / 'kill_and_resume.py'
    done = subprocess.run(
        [sys.executable, script, '--kills', str(kills)],
        capture_output=True, text=True, timeout=120 + 30 * kills, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    counts = json.loads(done.stdout.splitlines()[-1])
    assert counts['time'] + counts['event'] >= kills
    assert counts['runs'] >= 1
    if all_tests:
        assert min(counts[kind] for kind in ('moved', 'copied', 'rewritten')) >= 5
