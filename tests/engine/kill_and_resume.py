"""Kill a real training process again and again, resume it, and compare what it ends with to a run left alone.

``python tests/engine/kill_and_resume.py --kills 50``. Half of the kills come after a random time, half at a random one
of the file operations in the work dir (just before it: an open, rename or removal). After every kill each file under a
checkpoint's name must load. Before it is resumed, the work dir may be moved, or copied and the copy resumed, or the
metadata of its last checkpoint name files of others. None of those may change: files beside the work dir, the user's
own within it, and the folders that were copied. At the end weights, averaged weights, optimizer, generators and the
best checkpoint must be equal, bit for bit, and the same files be there. Processes are forked from this one, which has
imported everything; the children run ``mmirstd train`` as it is.
"""

import argparse
import contextlib
import hashlib
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import textwrap
import time
from pathlib import Path

os.environ.setdefault('OMP_NUM_THREADS', '1')

import numpy as np
import torch
from PIL import Image

import mmirstd.apis.training
from mmirstd.checkpoints.loading import load_file
from mmirstd.cli import main as mmirstd

ROOT = Path(__file__).resolve().parents[2]
EVENTS = ('open', 'os.rename', 'os.remove')


def make_data(root: Path) -> None:
    """Write seven images of different sizes with two targets each."""
    rng = np.random.default_rng(0)
    for folder in ('images', 'masks'):
        (root / folder).mkdir(parents=True)
    for i in range(7):
        image, mask = rng.normal(80, 12, (48 + i, 50 - i)), np.zeros((48 + i, 50 - i), np.uint8)
        for y, x in rng.integers(8, 36, (2, 2)):
            mask[y : y + 3, x : x + 3] = 255
        image[mask > 0] += 60
        Image.fromarray(image.clip(0, 255).astype(np.uint8)).save(root / f'images/{i}.png')
        Image.fromarray(mask).save(root / f'masks/{i}.png')
    (root / 'train.txt').write_text('0\n1\n2\n3\n4\n')
    (root / 'val.txt').write_text('5\n6\n')


def make_config(path: Path, data: Path, max_iters: int) -> None:
    """Write a config that draws random numbers wherever it can: augmentation in two workers, dropout, points."""
    path.write_text(
        textwrap.dedent(f"""
        _base_ = {str(ROOT / 'configs/_base_/default_runtime.py')!r}
        load = [dict(type='mmirstd.LoadIRImage'), dict(type='mmirstd.LoadTargetMask')]
        pack = dict(type='PackSegInputs', meta_keys=('img_id', 'img_path', 'seg_map_path', 'ori_shape', 'img_shape'))
        data = dict(type='mmirstd.FolderDataset', data_root={str(data)!r})
        augment = [
            dict(type='RandomResize', resize_type='mmirstd.AlignedResize', scale=(32, 32), ratio_range=(0.8, 1.5),
                 keep_ratio=True),
            dict(type='mmirstd.CopyPasteTargets', prob=0.7),
            dict(type='mmirstd.TargetAwareCrop', crop_size=(32, 32)),
            dict(type='PhotoMetricDistortion'),
            dict(type='RandomFlip', prob=0.5),
        ]
        train_dataloader = dict(
            batch_size=2, num_workers=2, persistent_workers=True, sampler=dict(type='InfiniteSampler', shuffle=True),
            dataset=dict(type='MultiImageMixDataset', dataset=dict(**data, ann_file='train.txt', pipeline=load),
                         pipeline=[*augment, pack]))
        val_dataloader = dict(
            batch_size=1, num_workers=0, sampler=dict(type='DefaultSampler', shuffle=False),
            dataset=dict(**data, ann_file='val.txt', pipeline=[*load, pack], test_mode=True))
        test_dataloader = val_dataloader
        val_evaluator = test_evaluator = dict(type='mmirstd.IRSTDMetric')
        model = dict(
            type='EncoderDecoder',
            data_preprocessor=dict(type='mmirstd.IRSTDDataPreProcessor', mean=[80.0] * 3, std=[40.0] * 3, size=(32, 32),
                                   seg_pad_val=255, test_divisor=2),
            backbone=dict(type='UNet', base_channels=4, num_stages=2, strides=(1, 1), enc_num_convs=(1, 1),
                          dec_num_convs=(1,), downsamples=(True,), enc_dilations=(1, 1), dec_dilations=(1,),
                          norm_cfg=dict(type='BN')),
            decode_head=dict(type='FCNHead', in_channels=4, channels=4, num_convs=1, concat_input=False,
                             dropout_ratio=0.3, num_classes=2, out_channels=1, threshold=0.5, norm_cfg=dict(type='BN'),
                             loss_decode=dict(type='mmirstd.PointSampledLoss', num_points=200,
                                              losses=[dict(type='mmirstd.BinaryCrossEntropyLoss')])),
            train_cfg=dict(), test_cfg=dict(mode='whole'))
        optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='AdamW', lr=0.02), clip_grad=dict(max_norm=1.0))
        param_scheduler = [
            dict(type='LinearLR', start_factor=0.1, by_epoch=False, begin=0, end=4),
            dict(type='CosineAnnealingLR', eta_min=1e-4, by_epoch=False, begin=4, end={max_iters})]
        train_cfg = dict(type='IterBasedTrainLoop', max_iters={max_iters}, val_interval=8)
        val_cfg, test_cfg = dict(type='ValLoop'), dict(type='TestLoop')
        averaging = dict(type='EMAHook', ema_type='MomentumAnnealingEMA', momentum=0.05, gamma=4, update_buffers=True)
        custom_hooks = [averaging]
        default_hooks = dict(checkpoint=dict(interval=4), visualization=dict(draw=False))
        vis_backends = [dict(type='LocalVisBackend')]
        visualizer = dict(vis_backends=vis_backends)
        """)
    )


def train(config: Path, work_dir: Path, log: Path, kill_event: int = 0) -> int:
    """Fork a process that trains or resumes, and kills itself at its ``kill_event``-th file operation."""
    sys.stdout.flush()
    if pid := os.fork():
        return pid
    try:
        os.setsid()  # the workers die with it
        output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(output, 1)
        os.dup2(output, 2)
        if kill_event:
            _kill_at_event(kill_event, str(work_dir))
        mmirstd(['train', str(config), '--work-dir', str(work_dir), '--resume'])
        os._exit(0)
    except BaseException:
        import traceback

        traceback.print_exc()
        os._exit(1)


def _kill_at_event(number: int, folder: str) -> None:
    count = 0

    def hook(event: str, args: tuple) -> None:
        nonlocal count
        if event in EVENTS and any(isinstance(a, str) and a.startswith(folder) for a in args):
            count += 1
            if count == number:
                os.killpg(0, signal.SIGKILL)

    sys.addaudithook(hook)


def wait(pid: int, seconds: float | None = None) -> int | None:
    """Wait for a process; kill its group after ``seconds``. Returns its exit status, None if it was killed."""
    end = time.monotonic() + (seconds if seconds is not None else 600)
    while time.monotonic() < end:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return None if os.WIFSIGNALED(status) else os.waitstatus_to_exitcode(status)
        time.sleep(0.002)
    with contextlib.suppress(ProcessLookupError):  # it may not have made its group yet
        os.killpg(pid, signal.SIGKILL)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    if seconds is None:
        raise TimeoutError('a run that was left alone did not end')
    return None


def differences(one: object, other: object, path: str = '') -> list[str]:
    """Say where two checkpoints differ; tensors are compared bit for bit."""
    if isinstance(one, torch.Tensor):
        same = isinstance(other, torch.Tensor) and one.dtype == other.dtype and torch.equal(one, other)
    elif isinstance(one, dict):
        if not isinstance(other, dict) or one.keys() != other.keys():
            return [f'{path}: other keys']
        return [d for k in one for d in differences(one[k], other[k], f'{path}.{k}')]
    elif isinstance(one, (list, tuple)):
        if len(one) != len(other):
            return [f'{path}: other length']
        return [d for i, (a, b) in enumerate(zip(one, other, strict=True)) for d in differences(a, b, f'{path}.{i}')]
    else:
        same = np.array_equal(one, other)
    return [] if same else [path]


def result(work_dir: Path, max_iters: int) -> dict:
    """Everything a run ends with that must be equal."""
    last = load_file(work_dir / f'iter_{max_iters}.pth')
    best = sorted(work_dir.glob('best_*.pth'))
    content = {k: last[k] for k in ('state_dict', 'ema_state_dict', 'optimizer', 'param_schedulers')}
    content['rng'] = last['meta']['rng'][0]['torch']
    return content | {'best': [(p.name, load_file(p)['state_dict']) for p in best], 'files': sorted(
        p.name for p in work_dir.iterdir() if p.is_file())}  # fmt: skip


def contents(folder: Path) -> dict[str, str]:
    """Hashes of all files below a folder."""
    files = sorted(p for p in folder.rglob('*') if p.is_file())
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def make_victims(folder: Path) -> None:
    """Write files that no run may touch, though some have names of a run's own."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in ('notes.txt', '.notes.tmp', 'user/data.txt'):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(name)


def make_checkpoint_of_the_user(folder: Path) -> None:
    """Write a checkpoint of another run; before the first of its own, a run would refuse the folder for it."""
    torch.save({'state_dict': {}, 'meta': {'run_id': 'of another'}}, folder / 'best_of_the_user.pth')


def rewrite(work_dir: Path, outside: Path) -> bool:
    """Have the metadata of the last checkpoint name files outside, and the user's; their own names stay the same."""
    line = work_dir / 'last_checkpoint'
    if not line.exists() or not line.read_text().strip():
        return False
    path = work_dir / Path(line.read_text().strip()).name
    content = torch.load(path, weights_only=False)
    info = content['message_hub']['runtime_info']
    for key in ('best_ckpt', 'last_ckpt'):
        if info.get(key):
            info[key] = str(outside / Path(info[key]).name)
            shutil.copy(path, info[key])  # what would be removed
    content['meta']['outdated'] = [
        *content['meta'].get('outdated', ()), *map(str, outside.iterdir()), '../outside/notes.txt', 'notes.txt', 'user',
        'best_of_the_user.pth', '.notes.tmp',
    ]  # fmt: skip
    content['meta']['config'] = f"open({str(outside / 'ran')!r}, 'w').close()"
    info['keep_ckpt_ids'] = [1, 2, 3, *info.get('keep_ckpt_ids', ())]
    torch.save(content, path)
    line.write_text(str(outside / path.name))
    return True


def main(kills: int, seed: int, max_iters: int = 24) -> dict:
    """Run it.

    Raises:
        AssertionError: If a checkpoint does not load after a kill, or a run ends differently.
    """
    folder = Path(tempfile.mkdtemp(prefix='kill-and-resume-'))
    config, log = folder / 'job.py', folder / 'log.txt'
    make_data(folder / 'data')
    make_config(config, folder / 'data', max_iters)
    chance = random.Random(seed)
    start = time.monotonic()
    assert wait(train(config, folder / 'alone', log)) == 0, log.read_text()[-3000:]
    duration = time.monotonic() - start
    expected = result(folder / 'alone', max_iters)

    done = {'time': 0, 'event': 0, 'runs': 0, 'checkpoints_loaded': 0, 'resumed': 0}
    done |= {'moved': 0, 'copied': 0, 'rewritten': 0}
    copies: dict[Path, dict] = {}
    outside = folder / 'outside'
    make_victims(outside)
    make_checkpoint_of_the_user(outside)
    while done['time'] + done['event'] < kills:
        work_dir = folder / f'killed_{done["runs"]}'
        make_victims(work_dir)
        mine = contents(work_dir)
        status, left = None, chance.randint(2, 8)
        while status is None:
            change = chance.choice(['nothing', 'moved', 'copied', 'rewritten'])
            if change in ('moved', 'copied'):
                before, work_dir = work_dir, folder / f'{change}_{done["runs"]}_{done["moved"] + done["copied"]}'
                if change == 'moved':
                    before.rename(work_dir)
                else:
                    shutil.copytree(before, work_dir)
                    copies[before] = contents(before)
                done[change] += 1
            elif change == 'rewritten':
                done[change] += rewrite(work_dir, outside)
            if (work_dir / 'last_checkpoint').exists() and 'best_of_the_user.pth' not in mine:
                make_checkpoint_of_the_user(work_dir)
                mine['best_of_the_user.pth'] = contents(work_dir)['best_of_the_user.pth']
            others = contents(outside)
            last = left <= 0 or done['time'] + done['event'] >= kills
            kind = None if last else chance.choice(['time', 'event'])
            event = chance.randint(1, 60) if kind == 'event' else 0
            done['resumed'] += (work_dir / 'last_checkpoint').exists()
            pid = train(config, work_dir, log, event)
            status = wait(pid, chance.uniform(0.1, 1.1) * duration if kind == 'time' else None)
            if status is None:
                done[kind] += 1
                left -= 1
            for path in work_dir.glob('*.pth'):
                load_file(path)
                done['checkpoints_loaded'] += 1
            assert contents(outside) == others, 'a file outside was changed'
            here = contents(work_dir)
            assert all(here.get(name) == digest for name, digest in mine.items()), "a file of the user's was changed"
        assert status == 0, log.read_text()[-3000:]
        for name in mine:
            (work_dir / name).unlink()
        found = differences(expected, result(work_dir, max_iters))
        assert not found, f'run {done["runs"]} ends differently: {found[:5]}'
        done['runs'] += 1
        print(f'\r{done["time"] + done["event"]} of {kills} kills', end='', file=sys.stderr, flush=True)
    assert all(contents(path) == files for path, files in copies.items()), 'a folder was changed that was copied'
    shutil.rmtree(folder)
    return done


if __name__ == '__main__':
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--kills', type=int, default=50)
    parser.add_argument('--seed', type=int, default=0)
    arguments = parser.parse_args()
    print(json.dumps(main(arguments.kills, arguments.seed)))
