"""The command: its output and exit status, killed in the middle, and on the real files."""

import json
import os
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest
from prepare_sets import contents, picture, save, target, write_set, zip_folder

from mmirstd.cli import main
from mmirstd.datasets import NUAASIRSTDataset
from mmirstd.datasets.published_splits import load_published

ROOT = Path(__file__).resolve().parents[3]
TOOL = ROOT / 'tools/dataset_converters/prepare_dataset.py'
NUAA = sorted({i for part in ('trainval', 'test') for i in load_published('NUAA-SIRST', f'idx_427/{part}')[1]})


@pytest.fixture
def run(capsys, own_mmengine_state):
    """Run the command in this process: exit status, standard output, standard error."""

    def call(*args):
        capsys.readouterr()
        error = ''
        try:
            status = main(['prepare', *args])
        except SystemExit as exit_error:
            status, error = (exit_error.code, '') if isinstance(exit_error.code, int) else (1, str(exit_error.code))
        out, err = capsys.readouterr()
        return status, out, err + error

    return call


def pictures(folder):
    return {k: v for k, v in contents(folder).items() if k.endswith('.png')}


def test_whole_set(tmp_path, monkeypatch, run):
    """All 427 ids of NUAA-SIRST, so that its published lists are read."""
    monkeypatch.chdir(tmp_path)
    root = write_set('nuaa-sirst', tmp_path / 'sirst', NUAA)
    status, text, _ = run('nuaa-sirst', 'sirst')
    assert status == 0
    assert 'split basicirstd: subtrain 192, test 214, train 213, val 21' in text
    assert 'usable: 0 errors, 0 warnings, 0 notes. 854 files written to data/NUAA-SIRST.' in text
    assert 'mmengine' not in text
    out = tmp_path / 'data/NUAA-SIRST'
    first = contents(out)
    assert pictures(out) == contents(root)
    assert json.loads(first['report.json'])['splits']['irsam/test'] == 86
    status, text, _ = run('nuaa-sirst', 'sirst')
    assert status == 0
    assert 'Already prepared: all 854 files in data/NUAA-SIRST are the same, nothing written.' in text
    assert contents(out) == first
    assert len(NUAASIRSTDataset(split='idx_427/test', data_root=str(out))) == 86
    # Without one of its files, and with one spoiled.
    (root / 'images/Misc_5.png').unlink()
    (root / 'masks/Misc_7_pixels0.png').write_bytes(b'')
    status, text, _ = run('nuaa-sirst', root, '--check-only', '--report-dir', tmp_path / 'report')
    assert status == 1
    assert 'error (1): files that cannot be decoded completely\n      masks/Misc_7_pixels0.png' in text
    assert 'warning (1): masks without an image\n      masks/Misc_5_pixels0.png' in text
    assert 'NOT USABLE' in text
    assert 'NOT USABLE' in (tmp_path / 'report/report.md').read_text()


def test_own_data(tmp_path, run):
    root, out = write_set('folder', tmp_path / 'mine'), tmp_path / 'out'
    args = ('folder', root, '--out', out, '--ratios', 0.5, 0, 0.5, '--seed', 7)
    status, text, _ = run(*args, '--link', 'hard')
    assert status == 0
    assert 'split: train.txt 5, test.txt 5' in text
    changed = out / 'images/frame_0.png'
    changed.unlink()
    save(changed, picture('changed'))
    status, _, error = run(*args)
    assert status == 1
    assert 'images/frame_0.png exists: choose another place, or allow replacing with --overwrite' in error
    assert changed.read_bytes() != (root / 'images/frame_0.png').read_bytes()
    assert run(*args, '--overwrite')[0] == 0
    assert pictures(out) == contents(root)


def test_list(run):
    status, text, _ = run('--list')
    assert status == 0
    assert 'mdfa: mmirstd.MDFADataset\n  images    10,100\n  page      https://github.com/wanghuanphd' in text


@pytest.mark.parametrize(
    ('args', 'status', 'message'),
    [
        ((), 2, 'NAME and SOURCE are needed'),
        (('nuaa-sirst',), 2, 'NAME and SOURCE are needed'),
        (('kitti', 'x'), 2, "error: unknown set 'kitti'; known: nuaa-sirst, "),
        (('folder', 'x'), 2, 'give --out'),
        (('nuaa-sirst', 'x', '--ratios', '1', '1', '1'), 2, 'add up to 1'),
        (('nuaa-sirst', 'x', '--workers', '0'), 2, 'workers >= 1'),
        (('nuaa-sirst', 'nothing'), 1, 'error: nothing does not exist'),
    ],
)
def test_wrong_commands(tmp_path, monkeypatch, run, args, status, message):
    monkeypatch.chdir(tmp_path)
    found, _, error = run(*args)
    assert found == status
    assert message in error
    assert not list(tmp_path.iterdir())


def test_progress_on_a_terminal(tmp_path, monkeypatch, run):
    archive = zip_folder(write_set('folder', tmp_path / 'a'), tmp_path / 'a.zip')
    monkeypatch.setattr(sys.stderr, 'isatty', lambda: True, raising=False)
    status, _, error = run('folder', archive, '--out', tmp_path / 'out')
    assert status == 0
    for step, num in (('unpacking a.zip', 20), ('checking', 10), ('comparing', 23), ('writing', 23)):
        assert f'{step}:   0%' in error
        assert f'0/{num}' in error


def test_malicious_archives(tmp_path, run):
    with zipfile.ZipFile(tmp_path / 'bad.zip', 'w') as file:
        for name in ('images/1.png', 'masks/1.png', '../../evil.png'):
            file.writestr(name, b'x')
    (tmp_path / 'deep/er').mkdir(parents=True)
    status, _, error = run('folder', tmp_path / 'bad.zip', '--out', tmp_path / 'deep/er/out')
    assert status == 1
    assert "the member '../../evil.png' would be written outside" in error
    assert [p.name for p in tmp_path.rglob('*') if p.is_file()] == ['bad.zip']
    save(tmp_path / 'b/images/1.png', picture('1', (1200, 1200)))
    save(tmp_path / 'b/masks/1.png', target((1200, 1200)))
    archive = zip_folder(tmp_path / 'b', tmp_path / 'b.zip')
    status, _, error = run('folder', archive, '--out', tmp_path / 'out', '--max-gib', 0.001)
    assert status == 1
    assert 'more than the limit of 1073741' in error
    assert not (tmp_path / 'out').exists()


# Files are given their names slowly, so that there is a middle to be killed in.
SLOW = """
import os, sys, time
replace = os.replace
def slow(*args):
    time.sleep(0.001)
    replace(*args)
    time.sleep(0.001)
os.replace = slow
sys.argv = sys.argv[1:]
import runpy
runpy.run_path(sys.argv[0], run_name='__main__')
"""


@pytest.mark.parametrize('kind', ['zip', pytest.param('folder', marks=pytest.mark.exhaustive)])
def test_killed_in_the_middle(tmp_path, run, kind):
    """A process killed while it unpacks or writes leaves whole files only, and the next one completes the work."""
    source = write_set('folder', tmp_path / 'source', [f'{i:03d}' for i in range(60)])
    expected = contents(source)
    if kind == 'zip':
        source = zip_folder(source, tmp_path / 'source.zip')
    out = tmp_path / 'out'
    args = ('folder', source, '--out', out)
    folders = [tmp_path / 'out.unpacked', out] if kind == 'zip' else [out, out]
    for folder, num in zip(folders, (30, 80), strict=True):
        process = subprocess.Popen(
            [sys.executable, '-c', SLOW, str(TOOL), *map(str, args)],
            env=os.environ | {'PYTHONPATH': str(ROOT)},
            stdout=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + 100
        while process.poll() is None and time.monotonic() < deadline:
            if folder.is_dir() and sum(len(files) for _, _, files in os.walk(folder)) >= num:
                process.send_signal(signal.SIGKILL)
                break
            time.sleep(0.001)
        assert process.wait(60) == -signal.SIGKILL
        found = {k: v for k, v in (contents(out) if out.is_dir() else {}).items() if not k.startswith('.partial/')}
        assert found.items() < expected.items()
        assert bool(found) == (folder == out)
    assert run(*args)[0] == 0
    final = contents(out)
    assert pictures(out) == expected
    others = ['report.json', 'report.md', 'test.txt', 'train.txt', 'val.txt']
    assert sorted(final.keys() - expected.keys()) == others
    assert {p.name for p in tmp_path.iterdir()} == {'out', 'source', source.name}
    # The same as without any interruption.
    assert run('folder', source, '--out', tmp_path / 'undisturbed')[0] == 0
    undisturbed = contents(tmp_path / 'undisturbed')
    assert all(undisturbed[name] == final[name] for name in final.keys() - {'report.json'})
    assert undisturbed.keys() == final.keys()


@pytest.mark.parametrize(
    ('key', 'name', 'num', 'expected'),
    [
        ('nuaa-sirst', 'NUAA-SIRST', 427, {'known-mismatch': 1, 'alpha': 15, 'palette': 5}),
        pytest.param('nudt-sirst', 'NUDT-SIRST', 1327, {}, marks=pytest.mark.exhaustive),
        pytest.param('irstd-1k', 'IRSTD-1k', 1001, {'not-binary': 85}, marks=pytest.mark.exhaustive),
    ],
)
def test_real_data(real_data, tmp_path, run, key, name, num, expected):
    """What the published files hold; they are linked to, not copied."""
    out = tmp_path / name
    assert run(key, real_data / name, '--out', out, '--link', 'symbolic')[0] == 0
    report = json.loads((out / 'report.json').read_text())
    kinds = [f['kind'] for f in report['findings']]
    assert {kind: kinds.count(kind) for kind in kinds} == expected
    assert report['num'] == report['num_found'] == num
    assert report['incomplete'] == {}
    if key == 'nuaa-sirst':
        mismatch = next(f for f in report['findings'] if f['kind'] == 'known-mismatch')
        assert (mismatch['file'], mismatch['detail']) == ('masks/Misc_111_pixels0.png', '592x400, its image 325x220')
