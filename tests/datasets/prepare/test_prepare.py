import os
import shutil
import tempfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from prepare_sets import IDS, contents, picture, save, target, write_set, zip_folder

from mmirstd.datasets import FolderDataset
from mmirstd.datasets.prepare import (
    SETS,
    PrepareOptions,
    SourceError,
    archives,
    describe_sets,
    preparation,
    splits,
    writing,
)
from mmirstd.datasets.prepare.archives import is_litter
from mmirstd.datasets.prepare.preparation import prepare_set
from mmirstd.datasets.prepare.report import check_report_folder
from mmirstd.datasets.prepare.sets import find_info
from mmirstd.io.ids import read_ids
from mmirstd.io.images import decode_image
from mmirstd.utils.errors import ArgumentError

PUBLIC = [key for key in SETS if key != 'folder']


@pytest.fixture
def few(monkeypatch):
    """Let every set be published with the few ids there are here, and the lists ``small/train`` and ``small/test``."""
    keys = {SETS[key].name: key for key in PUBLIC}

    def load(name, split, others=()):
        return split, IDS[keys[name]][slice(-2) if split == 'small/train' else slice(-2, None)]

    monkeypatch.setattr(splits, 'published_splits', lambda name: ['small/test', 'small/train'])
    monkeypatch.setattr(splits, 'load_published', load)
    monkeypatch.setattr('mmirstd.datasets.base.load_published', load)
    return lambda key: SETS[key]._replace(
        num=len(IDS[key]) + len(SETS[key].dataset.CORRUPT_IDS) - corrupt(key) if key != 'folder' else None,
        num_empty=0 if key != 'folder' else None,
    )


def corrupt(key):
    return len(set(IDS[key]) & set(SETS[key].dataset.CORRUPT_IDS))


def kinds(report):
    return sorted({f.kind for f in report.findings})


def pictures(folder):
    return {k: v for k, v in contents(folder).items() if k.endswith('.png')}


def images_and_masks(folder):
    return {k: v for k, v in contents(folder).items() if not k.startswith('report.')}


@pytest.mark.parametrize('key', SETS)
def test_every_layout_of_every_class(tmp_path, few, key):
    for layout in range(len(SETS[key].dataset.LAYOUTS)):
        root = write_set(key, tmp_path / f'{layout}' / 'download', layout=layout)
        if key == 'sirst-aug' and layout == 1:
            continue
        out = tmp_path / f'{layout}' / 'out'
        report = prepare_set(few(key), [root], out)
        assert report.usable
        assert kinds(report) == (['known-corrupt'] if key == 'mdfa' else [])
        assert report.num == len(IDS[key]) - corrupt(key)
        dataset = SETS[key].dataset(data_root=str(out))
        assert set(dataset.img_ids) == set(IDS[key]) - set(SETS[key].dataset.CORRUPT_IDS)
        dataset.check()
        expected = contents(root)
        if key == 'irdst':
            expected = {k.removeprefix('real/'): v for k, v in expected.items()}
        if key == 'mdfa':
            expected = {k: v for k, v in expected.items() if '000239' not in k}
        if key == 'folder':
            lists = {name: read_ids(out / f'{name}.txt') for name in ('train', 'val', 'test')}
            assert {k: len(v) for k, v in lists.items()} == {'train': 7, 'val': 1, 'test': 2}
            assert report.splits == {'all': 10, 'train.txt': 7, 'val.txt': 1, 'test.txt': 2}
            expected |= {f'{name}.txt': (out / f'{name}.txt').read_bytes() for name in lists}
        assert images_and_masks(out) == expected
        assert not (tmp_path / f'{layout}' / 'out.unpacked').exists()


@pytest.mark.parametrize('key', PUBLIC)
@pytest.mark.parametrize('where', ['above', 'inside', 'zip', 'zip with folder', 'tar'])
def test_source_as_it_comes(tmp_path, few, key, where):
    top = tmp_path / 'downloads' / SETS[key].name
    root = write_set(key, top)
    out = tmp_path / 'out'
    source = {
        'above': lambda: tmp_path / 'downloads',
        'inside': lambda: top / SETS[key].layouts[0][0].source.img_dir,
        'zip': lambda: zip_folder(root, tmp_path / 'a.zip'),
        'zip with folder': lambda: zip_folder(root, tmp_path / 'a.zip', 'some-main/data'),
        'tar': lambda: Path(shutil.make_archive(str(tmp_path / 'a'), 'gztar', root)),
    }[where]()
    if where == 'inside' and len(SETS[key].layouts[0][0].source.img_dir.split('/')) > 1:
        source = source.parent.parent
    report = prepare_set(few(key), [source], out)
    assert report.usable
    assert report.num == len(IDS[key]) - corrupt(key)
    assert set(SETS[key].dataset(data_root=str(out)).img_ids) == set(IDS[key]) - set(SETS[key].dataset.CORRUPT_IDS)
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith('out')] == ['out']


def test_sirst_repository(tmp_path, few):
    """images.zip and masks.zip with what macOS adds, beside the lists, as checkout and as ZIP of the repository."""
    root = write_set('nuaa-sirst', tmp_path / 'files')
    for kind in ('images', 'masks'):
        for path in list((root / kind).iterdir()):
            (root / f'__MACOSX/{kind}').mkdir(parents=True, exist_ok=True)
            (root / f'__MACOSX/{kind}/._{path.name}').write_bytes(b'\0\5\x16\7')
    for path in (root / 'masks').iterdir():
        path.with_name(path.name.replace('_pixels0.png', '.xml')).write_text('<xml/>')
    checkout = tmp_path / 'sirst'
    for kind in ('images', 'masks'):
        both = tmp_path / kind
        for part in (kind, f'__MACOSX/{kind}'):
            shutil.copytree(root / part, both / part)
        zip_folder(both, checkout / f'{kind}.zip')
    (checkout / 'idx_427').mkdir()
    (checkout / 'idx_427/test.txt').write_text('\n'.join(IDS['nuaa-sirst'][:3]))
    (checkout / 'README.md').write_text('# SIRST')
    (checkout / 'notes.txt').write_text('not a list')
    expected = {k: v for k, v in contents(root).items() if k.endswith('.png') and '__MACOSX' not in k}
    expected['idx_427/test.txt'] = (checkout / 'idx_427/test.txt').read_bytes()
    archive = zip_folder(checkout, tmp_path / 'sirst-master.zip', 'sirst-master')
    for name, sources in (
        ('checkout', [checkout]),
        ('zip', [archive]),
        ('two', [checkout / 'images.zip', checkout / 'masks.zip']),
    ):
        out = tmp_path / f'out-{name}'
        report = prepare_set(few('nuaa-sirst'), sources, out)
        if name == 'two':
            del expected['idx_427/test.txt']
        assert images_and_masks(out) == expected
        assert not any(is_litter(p) for p in out.rglob('*'))
        assert report.usable
        assert report.splits.get('idx_427/test.txt') == (None if name == 'two' else 3)
        text = report.to_text()
        assert 'masks/*.xml: 7 files' in text
        assert not list(tmp_path.glob('*.unpacked'))


def test_archives_without_folders(tmp_path, few):
    root = write_set('nudt-sirst', tmp_path / 'files')
    archives = [zip_folder(root / kind, tmp_path / f'{kind}.zip') for kind in ('images', 'masks')]
    assert prepare_set(few('nudt-sirst'), archives, tmp_path / 'out').num == 7
    assert images_and_masks(tmp_path / 'out') == contents(root)


def test_two_folders_become_one(tmp_path, few):
    for key in ('nuaa-sirst', 'nudt-sirst', 'irstd-1k'):
        root = tmp_path / key
        for n, i in enumerate(IDS[key]):
            part = 'trainval' if n < 5 else 'test'
            save(root / part / 'images' / f'{i}.png', picture(i))
            save(root / part / 'masks' / f'{i}.png', target())
        report = prepare_set(few(key), [root], tmp_path / 'out' / key)
        assert report.usable
        assert set(SETS[key].dataset(data_root=str(tmp_path / 'out' / key)).img_ids) == set(IDS[key])
    save(root / 'trainval/images' / f'{i}.png', picture('other'))
    save(root / 'trainval/masks' / f'{i}.png', target())
    report = prepare_set(few(key), [root], None)
    assert kinds(report) == ['ambiguous']
    assert not report.usable


def test_irdst_takes_the_real_part(tmp_path, few):
    for part in ('real', 'simulation'):
        write_set('irdst', tmp_path / 'IRDST' / part, extension='.bmp')
        (tmp_path / 'IRDST' / part / 'boxes').mkdir()
    save(tmp_path / 'IRDST/simulation/images/2/1(1).bmp', picture('x'))
    report = prepare_set(few('irdst'), [tmp_path / 'IRDST'], tmp_path / 'out')
    assert report.num == 6
    assert sorted(SETS['irdst'].dataset(data_root=str(tmp_path / 'out')).img_ids) == sorted(IDS['irdst'])


def test_collection_of_several_sets(tmp_path, few):
    for key in ('nudt-sirst', 'nuaa-sirst'):
        write_set(key, tmp_path / 'datasets' / SETS[key].name)
    source = zip_folder(tmp_path / 'datasets', tmp_path / 'datasets.zip', 'datasets')
    report = prepare_set(few('nudt-sirst'), [source], tmp_path / 'out')
    assert report.num == 7
    assert kinds(report) == []
    assert 'images/000001.png' in contents(tmp_path / 'out')
    (tmp_path / 'datasets/NUDT-SIRST').rename(tmp_path / 'datasets/a')
    with pytest.raises(SourceError, match=r'2 folders have .*images, masks.*: .*/NUAA-SIRST, .*/a; give one of them'):
        prepare_set(few('nudt-sirst'), [tmp_path / 'datasets'], tmp_path / 'out')


def test_mdfa_renumbered(tmp_path, few):
    ids = [f'training/{i:06d}' for i in range(9978)]
    assert not SETS['mdfa'].dataset(data_root='.', lazy_init=True).corrupt_ids(ids)
    assert SETS['mdfa'].num - len(SETS['mdfa'].dataset.CORRUPT_IDS) == 9978 + 100


def test_known_corrupt_may_be_unreadable(tmp_path, few):
    root = write_set('mdfa', tmp_path / 'a')
    (root / 'training/000239_1.png').write_bytes(b'damaged')
    (root / 'training/000239_2.png').unlink()
    report = prepare_set(few('mdfa'), [root], tmp_path / 'out')
    assert report.usable
    assert [(f.kind, f.file) for f in report.findings] == [('known-corrupt', 'training/000239')]
    assert not list((tmp_path / 'out').rglob('*239*'))


def test_known_mismatch(tmp_path, few):
    root = write_set('nuaa-sirst', tmp_path / 'a')
    save(root / 'images/Misc_111.png', picture('111'))
    save(root / 'masks/Misc_111_pixels0.png', target((16, 20)))
    report = prepare_set(few('nuaa-sirst')._replace(num=8), [root], tmp_path / 'out')
    assert report.usable
    assert kinds(report) == ['known-mismatch']
    save(root / 'masks/Misc_1_pixels0.png', target((16, 20)))
    assert not prepare_set(few('nuaa-sirst')._replace(num=8), [root], None).usable


def spoil(root):
    """One of each fault; returns what is to be found."""
    (root / 'masks/000001.png').unlink()
    (root / 'images/000002.png').unlink()
    save(root / 'masks/000003.png', target((5, 5)))
    (root / 'images/000004.png').write_bytes((root / 'images/000004.png').read_bytes()[:-20])
    save(root / 'masks/000005.png', target(value=90))
    save(root / 'images/000006.bmp', picture('6'))
    (root / 'readme.md').write_text('hello')
    (root / 'list.txt').write_text('000007\n000099\n')
    return {
        ('no-mask', 'images/000001.png'),
        ('no-image', 'masks/000002.png'),
        ('size-mismatch', 'masks/000003.png'),
        ('unreadable', 'images/000004.png'),
        ('bad-mask', 'masks/000005.png'),
        ('ambiguous', '000006.bmp'),
        ('extra', 'readme.md'),
        ('not-listed-file', '000099'),
        ('count', 'NUDT-SIRST'),
    }


def test_bad_pairs(tmp_path, few):
    root = write_set('nudt-sirst', tmp_path / 'a')
    expected = spoil(root)
    out = tmp_path / 'out'
    report = prepare_set(few('nudt-sirst'), [root], out)
    found = {(f.kind, f.file) for f in report.findings}
    # The mask of the id that two images claim has none.
    assert found == expected | {('no-image', 'masks/000006.png')}
    assert not report.usable
    assert not out.exists()
    assert 'NOT USABLE: 6 errors, 3 warnings, 1 note. Nothing written. --skip-bad' in report.to_text()
    report = prepare_set(few('nudt-sirst'), [root], out, PrepareOptions(skip_bad=True))
    assert 'usable without the pairs with errors: 6 errors' in report.to_text()
    assert report.usable
    assert report.left_out == [f'{i:06d}' for i in range(1, 7)]
    assert report.splits == {'all': 1}
    assert report.incomplete == {'small/test': 1, 'small/train': 5, 'list.txt': 1}
    assert sorted(images_and_masks(out)) == ['images/000007.png', 'list.txt', 'masks/000007.png']
    assert 'splits that lack images: small/test 1, small/train 5, list.txt 1' in report.to_text()


def test_nothing_good(tmp_path, few):
    save(tmp_path / 'a/images/1.png', picture('1'))
    save(tmp_path / 'a/masks/2.png', target())
    report = prepare_set(few('nudt-sirst'), [tmp_path / 'a'], tmp_path / 'out', PrepareOptions(skip_bad=True))
    assert not report.usable
    assert report.to_text().endswith('Nothing written.')


def test_missing_part(tmp_path, few):
    root = write_set('sirst-aug', tmp_path / 'a')
    shutil.rmtree(root / 'test')
    report = prepare_set(few('sirst-aug'), [root], tmp_path / 'out')
    assert ('missing-part', 'test/images, test/masks') in {(f.kind, f.file) for f in report.findings}
    assert not report.usable
    report = prepare_set(few('sirst-aug'), [root], tmp_path / 'out', PrepareOptions(skip_bad=True))
    assert report.splits == {'all': 5, 'official/train': 5}


def test_published_ids_without_files(tmp_path):
    root = write_set('nuaa-sirst', tmp_path / 'a')
    report = prepare_set(SETS['nuaa-sirst'], [root], tmp_path / 'out', PrepareOptions(skip_bad=True))
    assert {'count', 'not-listed-file'} == set(kinds(report))
    assert len([f for f in report.findings if f.kind == 'not-listed-file']) == 420
    assert report.incomplete['idx_427/train'] > 200
    assert next(f.detail for f in report.findings if f.kind == 'count') == '7 pairs, published are 427'


@pytest.mark.parametrize('link', [None, 'hard', 'symbolic'])
def test_again(tmp_path, few, link):
    root = write_set('folder', tmp_path / 'a')
    out, options = tmp_path / 'out', PrepareOptions(link=link)
    first = prepare_set(SETS['folder'], [root], out, options)
    assert '23 files written' in first.outcome
    if link:
        assert all((out / name).samefile(root / name) for name in contents(root))
    assert (out / 'images/frame_0.png').is_symlink() == (link == 'symbolic')
    first.write(out)
    times = {p: p.lstat().st_mtime_ns for p in out.rglob('*')}
    again = prepare_set(SETS['folder'], [root], out, options)
    again.write(out)
    assert again.outcome == f'Already prepared: all 23 files in {out} are the same, nothing written.'
    assert {p: p.lstat().st_mtime_ns for p in out.rglob('*') if p != out} == {
        k: v for k, v in times.items() if k != out
    }
    assert again.findings == first.findings
    # What was prepared can be prepared in its own place.
    own = prepare_set(SETS['folder'], [out], out, options)
    assert 'Already prepared' in own.outcome
    assert own.findings == []


def test_differing_files_stay(tmp_path, few):
    root, out = write_set('nudt-sirst', tmp_path / 'a'), tmp_path / 'out'
    prepare_set(few('nudt-sirst'), [root], out)
    save(out / 'images/000003.png', picture('mine'))
    (out / 'images/000001.png').unlink()
    before = contents(out)
    with pytest.raises(
        FileExistsError, match=r'1 files in .* differ .*nothing is written: .*/000003\.png exists: .*--overwrite'
    ):
        prepare_set(few('nudt-sirst'), [root], out)
    assert contents(out) == before
    report = prepare_set(few('nudt-sirst'), [root], out, PrepareOptions(overwrite=True))
    assert report.outcome.startswith('2 files written')
    assert images_and_masks(out) == contents(root)
    # Something that is no file, or a link that leads nowhere, is different too.
    (out / 'masks/000002.png').unlink()
    (out / 'masks/000002.png').symlink_to(tmp_path / 'nowhere')
    with pytest.raises(FileExistsError, match=r'masks/000002\.png'):
        prepare_set(few('nudt-sirst'), [root], out)


def test_foreign_images_in_out(tmp_path, few):
    root, out = write_set('nudt-sirst', tmp_path / 'a'), tmp_path / 'out'
    save(out / 'images/mine.png', picture('mine'))
    save(out / 'masks/mine.png', target())
    with pytest.raises(SourceError, match='holds other images than those prepared, 1 such as mine'):
        prepare_set(few('nudt-sirst'), [root], out)


def test_empty_masks_where_none_is_published(tmp_path, few):
    root = write_set('nudt-sirst', tmp_path / 'a')
    save(root / 'masks/000001.png', target(value=0))
    report = prepare_set(few('nudt-sirst'), [root], None)
    assert [tuple(f) for f in report.findings] == [
        ('empty-mask', 'masks/000001.png', ''),
        ('count', 'NUDT-SIRST', '1 masks without a target, published are 0'),
    ]
    assert report.usable


def test_foreign_report(tmp_path, few):
    root, out = write_set('nudt-sirst', tmp_path / 'a'), tmp_path / 'out'
    report = prepare_set(few('nudt-sirst'), [root], out)
    for name, text in (
        ('report.md', '# mine'),
        ('report.json', '{"mine": 1}'),
        ('report.json', '[]'),
        ('report.json', '?'),
    ):
        (out / name).write_text(text)
        with pytest.raises(FileExistsError, match=f'not a report of mmirstd prepare: .*{name} exists'):
            report.write(out)
        assert (out / name).read_text() == text
        (out / name).unlink()
    report.write(out)
    check_report_folder(out)
    assert report.to_markdown() == (out / 'report.md').read_text()


def test_binarize(tmp_path, few):
    root, out = write_set('nudt-sirst', tmp_path / 'a'), tmp_path / 'out'
    save(root / 'masks/000001.png', target(value=200))
    save(root / 'masks/000002.png', target(value=1))
    (root / 'masks/000003.png').unlink()
    save(root / 'masks/000003.bmp', np.dstack([target()] * 3))
    report = prepare_set(few('nudt-sirst'), [root], out, PrepareOptions(binarize=True))
    assert kinds(report) == ['labels-01', 'mask-channels', 'not-binary']
    assert 'Already prepared' in prepare_set(few('nudt-sirst'), [root], out, PrepareOptions(binarize=True)).outcome
    for i in (1, 2, 3):
        mask = decode_image((out / f'masks/{i:06d}.png').read_bytes(), '')
        np.testing.assert_array_equal(mask, target())
    for i in (4, 5, 6, 7):
        assert (out / f'masks/{i:06d}.png').read_bytes() == (root / f'masks/{i:06d}.png').read_bytes()
    assert not (out / 'masks/000003.bmp').exists()
    # The same pixels packed by another encoder are the same; others are not.
    Image.fromarray(target()).save(out / 'masks/000001.png', compress_level=0)
    assert 'Already prepared' in prepare_set(few('nudt-sirst'), [root], out, PrepareOptions(binarize=True)).outcome
    for damage in (lambda p: Image.fromarray(255 - target()).save(p), lambda p: p.write_bytes(b'half')):
        damage(out / 'masks/000001.png')
        with pytest.raises(FileExistsError):
            prepare_set(few('nudt-sirst'), [root], out, PrepareOptions(binarize=True))
    assert prepare_set(few('nudt-sirst'), [root], tmp_path / 'plain').usable
    assert images_and_masks(tmp_path / 'plain') == contents(root)


def test_own_data(tmp_path):
    """Duplicates stay in one list; sub-folders with other data, hidden files and links to folders are no trouble."""
    root = write_set('folder', tmp_path / 'a')
    for n in range(3):
        save(root / f'images/copy_{n}.png', picture('frame_0'))
        save(root / f'masks/copy_{n}.png', target())
    (root / '.git').mkdir()
    (root / '.git/x.png').write_bytes(b'')
    (root / 'loop').symlink_to(root)
    out = tmp_path / 'out'
    report = prepare_set(SETS['folder'], [root], out)
    assert kinds(report) == ['duplicate']
    lists = [read_ids(out / f'{part}.txt') for part in ('train', 'val', 'test')]
    assert sorted(map(len, lists))[0] >= 1
    assert sum(bool({'frame_0', 'copy_0', 'copy_1', 'copy_2'} & set(listed)) for listed in lists) == 1
    # Lists of one's own are kept, and none drawn.
    (root / 'train.txt').write_text('frame_1\nframe_2\n')
    report = prepare_set(SETS['folder'], [root], tmp_path / 'b')
    assert report.splits == {'all': 13, 'train.txt': 2}
    assert not (tmp_path / 'b/test.txt').exists()


def test_too_few_for_lists(tmp_path):
    root = write_set('folder', tmp_path / 'a', ids=['x', 'y'])
    report = prepare_set(SETS['folder'], [root], tmp_path / 'out')
    assert report.outcome.startswith('No splits: 2 different images cannot be divided into 3 splits. 4 files written')
    assert report.splits == {'all': 2}


def test_leaks(tmp_path, few):
    root = write_set('sirst-aug', tmp_path / 'a')
    shutil.copy(root / 'trainval/images/000002.png', root / 'test/images/000003.png')
    report = prepare_set(few('sirst-aug'), [root], None)
    assert [tuple(f) for f in report.findings] == [
        ('test-in-training', 'test/000003', 'same as trainval/000002 in official/test, trainval/000002 in small/test'),
        ('duplicate', 'test/images/000003.png', 'same as trainval/images/000002.png'),
    ]
    assert report.usable


def test_sources_that_are_none(tmp_path, few):
    info = few('mdfa')
    (tmp_path / 'empty').mkdir()
    (tmp_path / 'file.png').write_bytes(b'')
    (tmp_path / 'data.part1.rar').write_bytes(b'')
    (tmp_path / 'rar').mkdir()
    (tmp_path / 'rar/data.part1.rar').write_bytes(b'')
    (tmp_path / 'zips').mkdir()
    zip_folder(tmp_path / 'rar', tmp_path / 'zips/other.zip')
    for name, message in (
        ('nothing', 'nothing does not exist'),
        ('empty', r'no MDFA in .*/empty: expected .* \{training\} \+ \{test_org, test_gt\} or .*MDvsFA_cGAN'),
        ('file.png', r'file\.png is neither a folder nor a zip or tar archive; MDFA: data\.part1\.rar'),
        ('data.part1.rar', r'RAR and 7z archives cannot be read; unpack it with "unrar x data\.part1\.rar"'),
        ('rar', r'unpack it with "unrar x data\.part1\.rar"'),
        ('zips', r'If it is in .*other\.zip, give that as source'),
    ):
        with pytest.raises(SourceError, match=message):
            prepare_set(info, [tmp_path / name], tmp_path / 'out')
    assert not (tmp_path / 'out').exists()
    assert not list(tmp_path.glob('*.unpacked'))


def test_no_symbolic_links_into_archives(tmp_path, few):
    archive = zip_folder(write_set('nudt-sirst', tmp_path / 'a'), tmp_path / 'a.zip')
    with pytest.raises(SourceError, match='no symbolic links'):
        prepare_set(few('nudt-sirst'), [archive], tmp_path / 'out', PrepareOptions(link='symbolic'))
    assert not (tmp_path / 'out').exists()
    assert not (tmp_path / 'out.unpacked').exists()


def test_links_that_cannot_be_made(tmp_path, few, monkeypatch):
    root = write_set('nudt-sirst', tmp_path / 'a')

    def refuse(*args):
        raise OSError(18, 'Invalid cross-device link')

    monkeypatch.setattr(writing.os, 'link', refuse)
    with pytest.raises(OSError, match=r'no hard link can be made here .*copy instead'):
        prepare_set(few('nudt-sirst'), [root], tmp_path / 'out', PrepareOptions(link='hard'))
    assert contents(tmp_path / 'out') == {}
    # Unpacked files are copied then.
    archive = zip_folder(root, tmp_path / 'a.zip')
    assert prepare_set(few('nudt-sirst'), [archive], tmp_path / 'out').usable
    assert images_and_masks(tmp_path / 'out') == contents(root)


def test_interrupt_keeps_what_was_unpacked(tmp_path, few, monkeypatch):
    archive = zip_folder(write_set('nudt-sirst', tmp_path / 'a'), tmp_path / 'a.zip')

    def stop(*args):
        raise KeyboardInterrupt

    temporary = tmp_path / 'temporary'
    temporary.mkdir()
    monkeypatch.setattr(tempfile, 'tempdir', str(temporary))
    with monkeypatch.context() as patch:
        patch.setattr(preparation, 'examine', stop)
        with pytest.raises(KeyboardInterrupt):
            prepare_set(few('nudt-sirst'), [archive], tmp_path / 'out')
        assert len(pictures(tmp_path / 'out.unpacked')) == 14
        with pytest.raises(KeyboardInterrupt):
            prepare_set(few('nudt-sirst'), [archive], None)
        assert not list(temporary.iterdir())
    written = []
    monkeypatch.setattr(archives, '_write_member', lambda *args: written.append(args))
    assert prepare_set(few('nudt-sirst'), [archive], tmp_path / 'out').usable
    assert not written
    assert not (tmp_path / 'out.unpacked').exists()


def test_nothing_is_removed_that_is_not_from_here(tmp_path, few):
    """A user's own folder may be called as the temporary ones are."""
    archive, out = zip_folder(write_set('nudt-sirst', tmp_path / 'a'), tmp_path / 'a.zip'), tmp_path / 'out'
    mine = [save(tmp_path / name, picture('mine')) for name in ('out.unpacked/mine.png', 'out/.partial/mine.png')]
    with pytest.raises(FileExistsError, match=r'out\.unpacked exists'):
        prepare_set(few('nudt-sirst'), [archive], out, PrepareOptions(overwrite=True))
    assert all(path.is_file() for path in mine)
    mine[0].rename(tmp_path / 'elsewhere.png')
    assert prepare_set(few('nudt-sirst'), [archive], out).usable
    assert mine[1].is_file()
    assert not (tmp_path / 'out.unpacked').exists()


def test_describe_sets():
    text = describe_sets()
    for key, info in SETS.items():
        assert f'{key}: mmirstd.{info.dataset.__name__}' in text
        if key != 'folder':
            assert info.page in text
            assert f'{info.num:,}' in text
            assert info.license


@pytest.mark.parametrize('name', ['NUDT-SIRST', 'nudt_sirst', 'NUDT', 'nudt-sirst'])
def test_a_set_by_its_name_in_any_spelling(name):
    assert find_info(name).key == 'nudt-sirst'


def test_an_unknown_set():
    with pytest.raises(ArgumentError, match=r"unknown set 'nudt-sirts'; known: .*; did you mean nudt-sirst"):
        find_info('nudt-sirts')


def test_lists_as_people_have_them(tmp_path):
    """UTF-16, columns and suffixes are read; what cannot be read is named, and not taken for no list at all."""
    source = write_set('folder', tmp_path / 'source')
    first, second, *rest = IDS['folder']
    (source / 'train.txt').write_text(f'images/{first}.png masks/{first}.png\n{second}.png 1\n', 'utf-16')
    (source / 'test.txt').write_bytes('\n'.join([*rest, 'gr\xfcn']).encode('latin-1'))
    report = prepare_set(SETS['folder'], [source], tmp_path / 'out')
    assert report.usable
    assert report.splits == {'all': 10, 'train.txt': 2}
    (found,) = (f for f in report.findings if f.kind == 'bad-list')
    assert found == ('bad-list', 'test.txt', found.detail)
    assert found.detail.startswith('line 9: no text in UTF-8 or UTF-16')
    assert (tmp_path / 'out/train.txt').read_bytes() == (source / 'train.txt').read_bytes()


def test_special_files_in_a_source(tmp_path):
    source = write_set('folder', tmp_path / 'source')
    for name in ('images/pipe.png', 'masks/pipe.png', 'train.txt'):
        os.mkfifo(source / name)
    (source / 'images/up').symlink_to(source)
    (source / 'masks/self.png').symlink_to('self.png')
    report = prepare_set(SETS['folder'], [source], None)
    errors = {f.file: f for f in report.findings if f.level == 'error'}
    assert sorted(errors) == ['images/pipe.png', 'masks/pipe.png']
    assert errors['images/pipe.png'].detail == 'not a readable image (no regular file)'
    assert [f.file for f in report.findings if f.kind == 'no-image'] == ['masks/self.png']
    assert [f.file for f in report.findings if f.kind == 'bad-list'] == ['train.txt']
    os.mkfifo(tmp_path / 'set.zip')
    with pytest.raises(SourceError, match=r'set\.zip is neither a folder nor a zip or tar archive'):
        prepare_set(SETS['folder'], [tmp_path / 'set.zip'], None)


def test_images_in_sub_folders(tmp_path):
    ids = ['day/1', 'day/2', 'night/1']
    source = write_set('folder', tmp_path / 'source', ids)
    report = prepare_set(SETS['folder'], [source], tmp_path / 'out')
    assert report.usable
    assert FolderDataset(data_root=tmp_path / 'out').img_ids == ids


def test_long_names_are_kept(tmp_path):
    ids = [letter * 251 for letter in 'abc']
    archive = zip_folder(write_set('folder', tmp_path / 'source', ids), tmp_path / 'set.zip')
    assert prepare_set(SETS['folder'], [archive], tmp_path / 'out').usable
    assert FolderDataset(data_root=tmp_path / 'out').img_ids == ids


def test_a_folder_without_a_file_is_named(tmp_path):
    source = write_set('folder', tmp_path / 'source')
    for mask in (source / 'masks').iterdir():
        mask.unlink()
    with pytest.raises(SourceError, match=rf'no images with masks in {source}: expected .*\. {source}/masks is empty$'):
        prepare_set(SETS['folder'], [source], tmp_path / 'out')


@pytest.mark.parametrize('depth', [1, 2, 3, 4, 12])
def test_archives_in_archives(tmp_path, depth):
    content = write_set('folder', tmp_path / 'source')
    for level in range(depth):
        archive = zip_folder(content, tmp_path / f'{level}/set.zip')
        content = archive.parent
    if depth <= 3:
        assert prepare_set(SETS['folder'], [archive], tmp_path / 'out').usable
    else:
        with pytest.raises(SourceError, match=r'no images with masks in .*\. If it is in set\.zip inside an archive'):
            prepare_set(SETS['folder'], [archive], tmp_path / 'out')
        assert not (tmp_path / 'out').exists()
