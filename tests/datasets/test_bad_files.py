"""Missing, broken and mismatched files: an error that names them, or left out and counted."""

import sys
from collections import Counter
from io import StringIO

import numpy as np
import pytest
from mmengine.dataset import ConcatDataset
from PIL import Image
from small_sets import make, write, write_published

from mmirstd.datasets import FolderDataset, MDFADataset, NUAASIRSTDataset, NUDTSIRSTDataset, pair_checks
from mmirstd.datasets.transforms import LoadIRImage, LoadTargetMask
from mmirstd.io.ids import digest


def truncate(path, keep=0.6):
    content = path.read_bytes()
    path.write_bytes(content[: int(keep * len(content))])


FAULTS = {
    None: lambda image, mask: None,
    'no image': lambda image, mask: image.unlink(),
    'no mask': lambda image, mask: mask.unlink(),
    'unreadable image': lambda image, mask: truncate(image),
    'unreadable mask': lambda image, mask: mask.write_bytes(b''),
    'different sizes': lambda image, mask: write(mask, (13, 10)),
}
# What check() says where the list can be made.
MESSAGES = {
    'unreadable image': r'images.{}: not a readable image \(',
    'unreadable mask': r'masks.{}: not a readable image \(',
    'different sizes': r'sizes differ: .*images.{} is 12x10, .*masks.{} is 13x10',
}


@pytest.mark.parametrize('extension', ['.png', '.bmp', '.jpg', '.tif'])
@pytest.mark.parametrize('fault', [f for f in FAULTS if f])
def test_each_fault_is_an_error_or_skipped(fault, extension, tmp_path, log):
    names = [f'{i}{extension}' for i in 'abc']
    make(tmp_path, names)
    FAULTS[fault](tmp_path / 'images' / names[1], tmp_path / 'masks' / names[1])
    if fault in MESSAGES:
        dataset = FolderDataset(data_root=tmp_path)
        assert dataset.skipped == {}
        with pytest.raises(ValueError, match=MESSAGES[fault].replace('{}', f'b\\{extension}')):
            dataset.check()
    else:
        kind, other = fault.split()[1], tmp_path / ('masks' if fault == 'no image' else 'images') / names[1]
        message = rf'all: 1 of 3 ids have no {kind} in .*{kind}s: b; expected names ending in .* for {other}'
        with pytest.raises(FileNotFoundError, match=message):
            FolderDataset(data_root=tmp_path)
    log.clear()
    dataset = FolderDataset(data_root=tmp_path, on_bad='skip', pipeline=[LoadIRImage(), LoadTargetMask()])
    assert dataset.img_ids == ['a', 'c']
    assert dataset.skipped == {fault: ['b']}
    assert dataset.check()['num'] == len([*dataset]) == 2
    assert dataset.split_info == {
        'dataset': tmp_path.name,
        'name': 'all',
        'num': 2,
        'sha256': digest(['a', 'c']),
    }
    (line,) = (line for line in log if 'skipped' in line)
    assert line.splitlines()[0] == f"{tmp_path.name} all: 1 of 3 pairs are skipped (on_bad='skip'): 1 {fault} (b)"
    assert fault not in MESSAGES or names[1] in line.splitlines()[1]


def test_many_faults_are_counted(tmp_path, log):
    rng = np.random.default_rng(0)
    faults = {f'{i:03d}': rng.choice([*FAULTS]) for i in range(60)}
    for img_id, fault in faults.items():
        name = img_id + rng.choice(['.png', '.bmp', '.jpg', '.tif'])
        make(tmp_path, [name])
        FAULTS[fault](tmp_path / 'images' / name, tmp_path / 'masks' / name)
    dataset = FolderDataset(data_root=tmp_path, on_bad='skip')
    assert dataset.img_ids == [i for i, fault in faults.items() if fault is None]
    assert {reason: len(ids) for reason, ids in dataset.skipped.items()} == Counter(f for f in faults.values() if f)
    assert {i: reason for reason, ids in dataset.skipped.items() for i in ids} == {i: f for i, f in faults.items() if f}
    counts = Counter(faults.values())
    (line,) = (line for line in log if 'pairs are skipped' in line)
    assert f"{60 - counts[None]} of 60 pairs are skipped (on_bad='skip'): " in line
    for reason in counts.keys() - {None}:
        assert f'{counts[reason]} {reason} (' in line


def test_what_a_list_does_not_name_is_of_no_concern(tmp_path):
    make(tmp_path, ['000001.png', '000002.png'], ['000001.png', '000003.png'])
    (tmp_path / 'own.txt').write_text('000001')
    assert NUDTSIRSTDataset(data_root=tmp_path, ann_file='own.txt').img_ids == ['000001']
    with pytest.raises(FileNotFoundError, match=r'1 of 3 ids have no image in .*images: 000003; .* for .*masks.000003'):
        NUDTSIRSTDataset(data_root=tmp_path)


def test_a_published_list_on_an_incomplete_download(tmp_path, log):
    make(tmp_path, ['Misc_1.png', 'Misc_2.png'])
    (tmp_path / 'own.txt').write_text('Misc_2\nMisc_3\nMisc_1')
    dataset = NUAASIRSTDataset(data_root=tmp_path, ann_file='own.txt', on_bad='skip')
    assert dataset.img_ids == ['Misc_2', 'Misc_1']
    assert dataset.skipped == {'no image': ['Misc_3']}


def test_nothing_left_is_an_error(tmp_path):
    make(tmp_path, ['a.png'])
    truncate(tmp_path / 'masks/a.png')
    with pytest.raises(ValueError, match=r'all: no pair is left of 1: 1 unreadable mask \(a\)'):
        FolderDataset(data_root=tmp_path, on_bad='skip')
    (tmp_path / 'own.txt').write_text('b')
    with pytest.raises(ValueError, match=r'own\.txt: no pair is left of 1: 1 no image \(b\)'):
        FolderDataset(data_root=tmp_path, ann_file='own.txt', on_bad='skip')
    with pytest.raises(ValueError, match="on_bad must be 'error' or 'skip', got 'ignore'"):
        FolderDataset(data_root=tmp_path, on_bad='ignore')


def test_a_known_mismatch_is_no_fault(tmp_path):
    write(tmp_path / 'images/Misc_111.png', (13, 9))
    write(tmp_path / 'masks/Misc_111_pixels0.png', (26, 18))
    dataset = NUAASIRSTDataset(data_root=tmp_path, on_bad='skip')
    assert (dataset.img_ids, dataset.skipped) == (['Misc_111'], {})


def test_damaged_as_published_is_not_counted_as_skipped(tmp_path):
    write_published(MDFADataset, tmp_path, [f'training/{i:06d}' for i in (238, 239, 240)])
    (tmp_path / 'training/000239_1.png').write_bytes(b'')
    truncate(tmp_path / 'training/000240_1.png')
    dataset = MDFADataset(data_root=tmp_path, on_bad='skip')
    assert (dataset.img_ids, dataset.skipped) == (['training/000238'], {'unreadable image': ['training/000240']})


def test_unreadable_by_the_system(tmp_path, monkeypatch):
    make(tmp_path, ['a.png', 'b.png'])
    read = pair_checks.read_verified

    def refuse(path, *arguments):
        if path.endswith('b.png'):
            raise PermissionError(13, 'Permission denied', path)
        return read(path, *arguments)

    monkeypatch.setattr(pair_checks, 'read_verified', refuse)
    dataset = FolderDataset(data_root=tmp_path, on_bad='skip')
    assert (dataset.img_ids, dataset.skipped) == (['a'], {'unreadable file': ['b']})
    with pytest.raises(PermissionError, match=r'b\.png'):
        FolderDataset(data_root=tmp_path).check()


def test_skipping_joins_and_subsets(tmp_path):
    for part in ('one', 'two'):
        make(tmp_path / part, ['a.png', 'b.png', 'c.png'])
    truncate(tmp_path / 'one/images/b.png')
    one, two = (FolderDataset(data_root=tmp_path / part, on_bad='skip') for part in ('one', 'two'))
    assert len(ConcatDataset([one, two])) == 5
    assert FolderDataset(data_root=tmp_path / 'one', on_bad='skip', indices=2).img_ids == ['a', 'c']


def test_long_checks_show_progress(tmp_path, monkeypatch):
    class Terminal(StringIO):
        def isatty(self):
            return True

    make(tmp_path, ['a.png', 'b.png', 'c.png'])
    dataset = FolderDataset(data_root=tmp_path)
    monkeypatch.setattr(sys, 'stderr', Terminal())
    assert dataset.check()['num'] == 3
    assert sys.stderr.getvalue() == ''
    monkeypatch.setattr(pair_checks, 'PROGRESS_AFTER', 0)
    assert dataset.check()['num'] == 3
    assert '| 0/3 [' in sys.stderr.getvalue()


def test_palette_and_color_masks_are_no_fault(tmp_path):
    make(tmp_path, ['a.png', 'b.png'])
    for name, mode in (('a', 'P'), ('b', 'RGBA')):
        write(tmp_path / f'masks/{name}.png', value=255, mode=mode)
    Image.fromarray(np.zeros((10, 12), np.uint16)).save(tmp_path / 'images/b.png')
    assert FolderDataset(data_root=tmp_path, on_bad='skip').check()['modes'] == {'L': 1, 'I;16': 1}
