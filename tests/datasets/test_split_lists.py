import hashlib
import runpy
import sys
from pathlib import Path

import pytest

from mmirstd.datasets.published_splits import (
    SPLITS_DIR,
    choose_val,
    hold_out,
    load_published,
    official_prefix,
    published_splits,
)
from mmirstd.io.ids import digest, parse_ids, read_ids, resolve_entries

TOOL = Path(__file__).parents[2] / 'tools/figures/draw_val_splits.py'
# dataset, source: sizes of train, val, subtrain, test
SIZES = {
    ('NUDT-SIRST', 'basicirstd'): (663, 66, 597, 664),
    ('NUDT-SIRST', 'irsam'): (1061, 106, 955, 266),
    ('IRSTD-1k', 'basicirstd'): (800, 80, 720, 201),
    ('IRSTD-1k', 'irsam'): (800, 80, 720, 200),
    ('NUAA-SIRST', 'basicirstd'): (213, 21, 192, 214),
    ('NUAA-SIRST', 'irsam'): (341, 34, 307, 86),
    ('NUAA-SIRST', 'idx_427'): (256, 85, 256, 86),
    ('NUAA-SIRST', 'idx_320'): (160, 64, 160, 96),
    ('SIRST-v2', 'full'): (512, 256, 512, 256),
    ('SIRST-v2', 'v1'): (256, 85, 256, 86),
    ('SIRST-v2', 'v1fullv2target'): (308, 103, 308, 103),
    ('NUDT-SIRST-Sea', 'basicirstd'): (4961, 484, 4477, 847),
    ('IRDST', 'basicirstd'): (32523, 3252, 29271, 8130),
    ('IRDST', 'sequences'): (68, 7, 61, 17),
}


@pytest.mark.parametrize(
    'text',
    [
        'a\nb.c\n41/1(297)\n',
        'a\nb.c\n41/1(297)',
        'a\r\nb.c\r\n41/1(297)\r\n',
        '/a\n/b.c\n/41/1(297)',
        '\ufeffa.png\n\n  b.c.JPG \n41/1(297).bmp\n\n',
    ],
    ids=['plain', 'no final newline', 'crlf', 'slash before ids', 'bom, extensions, blanks'],
)
def test_all_published_spellings_give_the_same_ids(text, tmp_path):
    path = tmp_path / 'list.txt'
    path.write_bytes(text.encode())
    assert read_ids(path) == ['a', 'b.c', '41/1(297)']


def test_bad_lists_are_named():
    with pytest.raises(ValueError, match=r'x\.txt: 2 duplicate ids: b, a'):
        parse_ids('a\nb\nb.png\na\n', 'x.txt')
    with pytest.raises(ValueError, match=r'x\.txt: the split is empty'):
        parse_ids('\r\n', 'x.txt')
    with pytest.raises(FileNotFoundError, match=r'none\.txt'):
        read_ids('none.txt')


def test_digest_is_that_of_the_sorted_ids():
    assert digest(['b', 'a']) == digest(['a', 'b']) == hashlib.sha256(b'a\nb').hexdigest()[:12]


@pytest.mark.parametrize(('dataset', 'source'), SIZES)
def test_published_lists(dataset, source):
    parts = {part: load_published(dataset, f'{source}/{part}') for part in ('train', 'val', 'subtrain', 'test')}
    assert all(name == f'{source}/{part}' for part, (name, _) in parts.items())
    train, val, subtrain, test = (ids for _, ids in parts.values())
    assert (len(train), len(val), len(subtrain), len(test)) == SIZES[dataset, source]
    assert not set(test) & set(train + val)
    assert not set(val) & set(subtrain)
    held_out = set(val)
    assert subtrain == [i for i in train if i not in held_out]
    if dataset == 'SIRST-v2' or source.startswith('idx'):
        assert set(load_published(dataset, f'{source}/trainval')[1]) == set(train + val)
    else:
        assert set(val) < set(train)


def test_files_hold_one_id_per_line():
    paths = list(SPLITS_DIR.glob('*/*/*.txt'))
    assert len(paths) == 14 * 3 + 5
    for path in paths:
        assert path.read_bytes().decode('ascii') == '\n'.join(read_ids(path)) + '\n'


def test_known_relations_between_lists():
    def ids(split, dataset='NUAA-SIRST'):
        return load_published(dataset, split)[1]

    assert ids('irsam/train') == ids('idx_427/trainval')
    assert ids('irsam/test') == ids('idx_427/test')
    assert len(set(ids('basicirstd/test')) & set(ids('idx_427/trainval'))) == 172
    assert ids('irsam/train', 'IRSTD-1k') == ids('basicirstd/train', 'IRSTD-1k')
    assert set(ids('basicirstd/test', 'IRSTD-1k')) - set(ids('irsam/test', 'IRSTD-1k')) == {'XDU997'}
    assert len(set(ids('basicirstd/test', 'NUDT-SIRST')) & set(ids('irsam/train', 'NUDT-SIRST'))) == 533
    for part in ('train', 'val', 'test', 'trainval'):
        assert set(ids(f'v1/{part}', 'SIRST-v2')) == set(ids(f'idx_427/{part}'))
    assert len(set(ids('v1/trainval', 'SIRST-v2')) & set(ids('full/test', 'SIRST-v2'))) == 88
    assert {i for i in ids('full/trainval', 'SIRST-v2') + ids('full/test', 'SIRST-v2') if i.startswith('Misc_')} == set(
        ids('idx_427/trainval') + ids('idx_427/test')
    )


def test_scenes_and_sequences():
    def scenes(split):
        return {i.split('-')[0] for i in load_published('NUDT-SIRST-Sea', f'basicirstd/{split}')[1]}

    assert (len(scenes('subtrain')), len(scenes('val')), len(scenes('test'))) == (37, 4, 7)
    assert not scenes('subtrain') & scenes('val')
    assert not scenes('train') & scenes('test')

    frames = {part: load_published('IRDST', f'basicirstd/{part}')[1] for part in ('train', 'test')}
    sequences = {part: {i.split('/')[0] for i in ids} for part, ids in frames.items()}
    assert len(sequences['train']) == 85
    assert sequences['train'] == sequences['test']  # the trap
    found = frames['train'] + frames['test']
    parts = [
        resolve_entries(load_published('IRDST', f'sequences/{p}')[1], found, p) for p in ('subtrain', 'val', 'test')
    ]
    assert list(map(len, parts)) == [30095, 4567, 5991]
    assert set().union(*parts) == set(found)


def test_resolve_entries():
    found = ['41/1(2)', '41/1(1)', '4/1(1)', '411/1(1)']
    assert resolve_entries(['4/1(1)', '41/'], found, 'x') == ['4/1(1)', '41/1(1)', '41/1(2)']
    assert resolve_entries(['b', 'a'], found, 'x') == ['b', 'a']
    with pytest.raises(ValueError, match="x: no file belongs to the entry '42/'"):
        resolve_entries(['42/'], found, 'x')
    with pytest.raises(ValueError, match=r'x: 1 duplicate ids: 41/1\(1\)'):
        resolve_entries(['41/1(1)', '41/'], found, 'x')


def test_official_parts():
    prefixes = {'train': 'trainval/', 'test': 'test/'}
    assert official_prefix('official/subtrain', prefixes) == 'trainval/'
    assert official_prefix('official/test', prefixes) == 'test/'
    assert official_prefix('official/dev', prefixes) is official_prefix(None, prefixes) is None
    ids = [f'{i:03d}' for i in range(100)]
    assert hold_out(ids, 'official/train') == hold_out(ids, 'official/test') == ids
    val, subtrain = hold_out(ids, 'official/val'), hold_out(ids, 'official/subtrain')
    assert len(val) == 10
    assert sorted(val + subtrain) == ids
    assert hold_out(ids[::-1], 'official/val') == val[::-1]


def test_choose_val_keeps_groups_together():
    ids = [f'{scene}-{i}' for scene in range(20) for i in range(scene + 1)]
    val = choose_val(ids, 0.1, 3, lambda i: i.split('-')[0])
    scenes = {i.split('-')[0] for i in val}
    assert len(scenes) == 2
    assert val == [i for i in ids if i.split('-')[0] in scenes]


def test_alias_and_unknown_names():
    for dataset in ('NUDT-SIRST', 'NUAA-SIRST'):
        assert load_published(dataset, 'dnanet/test') == load_published(dataset, 'basicirstd/test')
    with pytest.raises(ValueError, match=r"'dnanet/test' of IRSTD-1k; known: basicirstd/subtrain, .*irsam/val$"):
        load_published('IRSTD-1k', 'dnanet/test')
    with pytest.raises(ValueError, match=r"'basicirstd' of NUDT-SIRST; known: .*dnanet/\* = basicirstd/\*"):
        load_published('NUDT-SIRST', 'basicirstd')
    with pytest.raises(ValueError, match='known: none; give a text file of ids as ann_file'):
        load_published('my folder', 'a/train')
    assert published_splits('nothing') == []


def run_tool(monkeypatch, *arguments):
    monkeypatch.setattr(sys, 'argv', [str(TOOL), *map(str, arguments)])
    runpy.run_path(str(TOOL), run_name='__main__')


def test_committed_val_lists_are_those_of_the_tool(monkeypatch, capsys):
    run_tool(monkeypatch, '--check')
    assert capsys.readouterr().out.count(' ids\n') == 11


def test_tool_writes_and_notices_differences(monkeypatch, tmp_path, capsys):
    for source in ('mine', 'idx_427'):
        (tmp_path / 'NUAA-SIRST' / source).mkdir(parents=True)
        lines = '\n'.join(f'id{i:03d}' for i in reversed(range(50)))
        (tmp_path / 'NUAA-SIRST' / source / 'train.txt').write_text(lines)
    run_tool(monkeypatch, '--splits-dir', tmp_path)
    assert not (tmp_path / 'NUAA-SIRST' / 'idx_427' / 'val.txt').exists()
    val = read_ids(tmp_path / 'NUAA-SIRST' / 'mine' / 'val.txt')
    assert len(val) == 5
    assert val == sorted(val, reverse=True)
    with pytest.raises(SystemExit, match=r'NUAA-SIRST.mine.val\.txt: differs'):
        run_tool(monkeypatch, '--splits-dir', tmp_path, '--check', '--seed', 1)
    for arguments in (['--fraction', 1], ['--splits-dir', tmp_path / 'none']):
        with pytest.raises(SystemExit):
            run_tool(monkeypatch, *arguments)
    assert 'no DATASET/SOURCE/train.txt below' in capsys.readouterr().err
