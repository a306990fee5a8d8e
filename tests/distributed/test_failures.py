"""A job of which one process dies ends soon, as a failure, with that process's error last and no process left."""

import contextlib
import os
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest
from processes import launch, script, start_script, tool

from mmirstd.engine import distributed

CONFIG = Path(__file__).with_name('simir_tiny.py')
ENDLESS = ('train_cfg.max_iters=100000', 'train_cfg.val_interval=100000')


def train(data, world, work, how=None, *options):
    fault = ('custom_hooks.0.type=mmirstd.FaultHook', f'custom_hooks.0.how={how}') if how else ()
    common = ('--work-dir', work, '--data-root', data, '--cfg-options', *fault, *ENDLESS, *options)
    return ('dist_train', CONFIG, world, *common)


def end(output):
    """What torchrun gives as the cause."""
    return output.rsplit('Root Cause (first observed failure):', 1)[1]


def running(work):
    """Processes that have ``work`` on their command line."""
    found = []
    for path in Path('/proc').glob('[0-9]*/cmdline'):
        try:
            command = path.read_bytes().decode().split('\0')
        except OSError:
            continue
        if str(work) in command:
            found.append(int(path.parent.name))
    return found


def wait_until(condition, seconds=60):
    limit = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < limit
        time.sleep(0.1)


@pytest.mark.parametrize(
    ('world', 'how', 'cause'),
    [
        (3, 'exception', 'LookupError: the sun has set'),
        pytest.param(2, 'sigkill', 'Signal 9 (SIGKILL) received by PID', marks=pytest.mark.exhaustive),
        pytest.param(2, 'memory', 'MemoryError', marks=pytest.mark.exhaustive),
        pytest.param(2, 'exit', 'exitcode  : 3 ', marks=pytest.mark.exhaustive),
    ],
)
def test_one_process_dies(odd_data, tmp_path, world, how, cause):
    work = tmp_path / 'run'
    code, output, _ = script(*train(odd_data, world, work, how), cwd=tmp_path)
    assert code == 1
    assert 'Iter(train)' in output
    assert cause in end(output)
    assert 'rank      : 1 ' in end(output)
    # Of the others, only that they were ended.
    assert 'by peer' not in output
    assert not running(work)


@pytest.mark.exhaustive
def test_a_process_that_hangs(odd_data, tmp_path):
    """The others wait as long as the config says."""
    work = tmp_path / 'run'
    code, output, _ = script(*train(odd_data, 2, work, 'hang', 'env_cfg.dist_cfg.timeout=3'), cwd=tmp_path)
    assert code == 1
    assert 'Timed out waiting 3000ms' in end(output)
    assert 'rank      : 0 ' in end(output)
    assert not running(work)


def train_where(folders, out):
    """Train as one of several processes that each are alone on a machine, and see its folder."""
    rank = os.environ['RANK']
    os.environ |= {'LOCAL_RANK': '0', 'LOCAL_WORLD_SIZE': '1', 'TORCHELASTIC_RUN_ID': 'machines'}
    distributed.PATIENCE = 0.5  # no launcher to wait for
    common = ('--work-dir', out / rank, '--launcher', 'pytorch', '--cfg-options', *ENDLESS)
    tool('train', CONFIG, '--data-root', folders[int(rank)], *common)


def test_a_file_missing_on_one_of_two_machines(odd_data, tmp_path):
    outputs = launch(train_where, 2, tmp_path, (odd_data, tmp_path / 'nothing'), tmp_path, status=1)
    assert 'error: another process has gone; its error says why' in outputs[0]
    assert f'[rank 1] error: there is no folder {tmp_path}/nothing' in outputs[1]
    assert 'Iter(train)' not in outputs[0]


def kill(job):
    with contextlib.suppress(ProcessLookupError):
        os.killpg(job.pid, signal.SIGKILL)


@pytest.mark.parametrize(
    'how',
    ['interrupt', *(pytest.param(how, marks=pytest.mark.exhaustive) for how in ('terminate', 'kill'))],
)
def test_the_launcher_is_ended(odd_data, tmp_path, how):
    """From the keyboard, which signals every process; by SIGTERM; and so that it can do nothing more."""
    work = tmp_path / 'run'
    options = ('train_dataloader.num_workers=1', 'train_dataloader.persistent_workers=True')
    job = start_script(*train(odd_data, 2, work, None, *options), cwd=tmp_path)
    try:
        output = ''
        while 'Iter(train)' not in output:
            line = job.stdout.readline()
            assert line, output
            output += line
        assert len(running(work)) >= 5  # the launcher, two processes, their workers
        if how == 'interrupt':
            os.killpg(job.pid, signal.SIGINT)
        else:
            os.kill(job.pid, signal.SIGTERM if how == 'terminate' else signal.SIGKILL)
        code = job.wait(timeout=45)
        wait_until(lambda: not running(work), 20)
        output = job.communicate(timeout=10)[0]
    finally:
        kill(job)
    assert code == {'interrupt': 130, 'terminate': 143, 'kill': -signal.SIGKILL}[how]
    if how == 'kill':  # nobody ends them in order: a thread of multiprocessing may report its lost peer, and no more
        frames = re.findall(r'\[rank\d+\]:   File "(.+?)"', output)
        assert all('/multiprocessing/' in file for file in frames), output
        assert ('[rank' in output) == bool(frames)
    else:
        assert '[rank' not in output  # no tracebacks of the processes
        assert re.search(rf'^interrupted by .*: {work}/iter_\d+.pth is complete', output, re.M)
    assert 'KeyboardInterrupt' not in output


@pytest.mark.exhaustive
def test_mistakes_are_the_last_line(tmp_path):
    code, output, _ = script(*train(tmp_path / 'nothing', 2, tmp_path / 'run'), cwd=tmp_path)
    assert code == 1
    assert f'error: there is no folder {tmp_path}/nothing' in end(output)
    assert 'Iter(train)' not in output


def test_script_needs_an_address_for_several_machines(tmp_path):
    done = subprocess.run(
        ['bash', Path(__file__).parents[2] / 'tools/dist_train.sh', CONFIG, '1'],
        env=os.environ | {'NNODES': '2'},
        capture_output=True,
        text=True,
    )
    assert done.returncode != 0
    assert 'NODE_RANK' in done.stderr
