import random
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mmengine.config import Config
from mmengine.dataset import ConcatDataset, RepeatDataset
from mmengine.registry import init_default_scope
from mmseg.datasets import BaseSegDataset
from mmseg.registry import DATASETS as MMSEG_DATASETS
from torch.utils.data import TensorDataset

from mmirstd.checkpoints.provenance import Provenance, merge, split_record
from mmirstd.datasets import FolderDataset, NUAASIRSTDataset, SyntheticIRSTDDataset
from mmirstd.datasets.published_splits import load_published
from mmirstd.engine.provenance import (
    OverlapError,
    allowed_names,
    check_overlaps,
    find_overlaps,
    is_allowed,
    leaves,
    provenance_of_dataset,
)
from mmirstd.io.ids import digest
from mmirstd.utils.data_root import set_data_folder

ROOT = Path(__file__).resolve().parents[2]
NUAA = 'NUAA-SIRST'
DATASETS = st.sampled_from(['NUDT-SIRST', 'IRSTD-1k', 'mine'])
IDS = st.lists(st.integers(0, 30).map(str), min_size=1, unique=True)
LISTS = st.lists(st.builds(split_record, DATASETS, st.sampled_from(['a/train', 'b/train', 'all']), IDS), max_size=6)


def published(split, dataset=NUAA):
    return split_record(dataset, *load_published(dataset, split))


def pairs(lists):
    return {(entry['dataset'], i) for entry in lists for i in entry['ids']}


@given(LISTS, LISTS)
def test_overlaps_are_those_of_plain_sets(evaluated, trained):
    found = find_overlaps(evaluated, merge(trained))
    for entry in evaluated:
        expected = len(pairs([entry]) & pairs(trained))
        assert sum(o.count for o in found if o.evaluated is entry) == expected
        assert all(o.certain for o in found)


@given(LISTS)
def test_merged_lists_lose_and_repeat_nothing(lists):
    merged = merge(lists)
    assert len({entry['dataset'] for entry in merged}) == len(merged)
    assert pairs(merged) == pairs(lists)
    for entry in merged:
        assert entry['num'] == len(entry['ids']) == len(set(entry['ids']))
        assert entry['sha256'] == digest(entry['ids'])
        names = {part['name'] for part in lists if part['dataset'] == entry['dataset']}
        assert set(entry['name'].split(' + ')) == names
    assert merge(merged) == merged
    assert merge([*lists, *lists]) == merged
    assert (Provenance(merged) + Provenance(merged)).trained_on == merged


def test_what_is_known_of_the_published_lists():
    message = str(find_overlaps([published('basicirstd/test')], [published('irsam/train')])[0])
    assert message == '172 of 214 images of NUAA-SIRST basicirstd/test were trained on (irsam/train)'
    assert not find_overlaps([published('basicirstd/test')], [published('basicirstd/train')])
    assert find_overlaps([published('idx_427/test')], [published('irsam/train')]) == []
    (nudt,) = find_overlaps([published('basicirstd/test', 'NUDT-SIRST')], [published('irsam/train', 'NUDT-SIRST')])
    assert nudt.count == 533
    # The same ids in another set are other images.
    assert not find_overlaps([split_record('a', 'all', ['1'])], [split_record('b', 'all', ['1'])])


def test_sets_that_share_images():
    v2 = split_record('SIRST-v2', 'all', ['Misc_1', 'Misc_7', 'XDU1'])
    v1 = split_record(NUAA, 'irsam/train', ['Misc_7', 'XDU1'])
    (overlap,) = find_overlaps([v1], [v2])
    assert str(overlap) == '1 of 2 images of NUAA-SIRST irsam/train were trained on (SIRST-v2 all)'
    assert [o.count for o in find_overlaps([v2], [v1])] == [1]
    assert [o.count for o in find_overlaps([v2], [v2])] == [3]
    full = published('full/train', 'SIRST-v2')
    parts = [published(split) for split in ('idx_427/trainval', 'idx_427/test')]
    assert [o.count for part in parts for o in find_overlaps([full], [part])] == [180, 39]

    augmented = split_record('SIRST-Aug', 'official/train', ['trainval/1', 'trainval/2'])
    for evaluated, trained in ((v1, augmented), (augmented, v1), (v2, augmented), (augmented, v2)):
        (overlap,) = find_overlaps([evaluated], [trained])
        assert (overlap.certain, overlap.count) == (False, evaluated['num'])
        assert str(overlap).startswith(f'up to {evaluated["num"]} images of {evaluated["dataset"]} ')
    assert not find_overlaps([split_record('SIRST-Aug', 'official/test', ['test/1'])], [augmented])
    assert not find_overlaps([split_record('SIRST-v2', 'all', ['XDU1'])], [augmented])
    assert not find_overlaps([split_record('IRSTD-1k', 'all', ['XDU1'])], [augmented, v2])


@pytest.mark.parametrize(
    ('allow', 'expected'),
    [
        ([], False),
        ([NUAA], True),
        (['NUDT-SIRST'], False),
        (['NUAA'], False),
        (['NUAA-SIRST a'], False),
        (['NUAA-SIRST a', '  NUAA-SIRST   b '], True),
        (['NUAA-SIRST a + b'], False),
    ],
)
def test_allowed_by_name(allow, expected):
    trained = merge([split_record(NUAA, 'a', 'x'), split_record(NUAA, 'b', 'y')])
    (overlap,) = find_overlaps([split_record(NUAA, 'c', 'xz')], trained)
    assert is_allowed(overlap, allow) is expected
    if expected:
        assert check_overlaps([split_record(NUAA, 'c', 'xz')], trained, allow, 'a.pth') == [overlap]


def test_the_error_says_how_many_and_what_to_do():
    trained = merge([published('irsam/train'), split_record('mine', 'all', ['1'])])
    evaluated = [published('basicirstd/test'), split_record('mine', 'test.txt', ['1', '2'])]
    with pytest.raises(OverlapError) as info:
        check_overlaps(evaluated, trained, ['mine'], 'a.pth')
    assert str(info.value) == (
        'a.pth: 172 of 214 images of NUAA-SIRST basicirstd/test were trained on (irsam/train). Metrics on them would '
        'be false. If that is meant, allow it by name: --allow-overlap NUAA-SIRST, or for these splits alone '
        "'NUAA-SIRST irsam/train'; in a config allow_overlap = ['NUAA-SIRST']"
    )
    with pytest.raises(OverlapError, match=r"1 of 2 images of mine .*--allow-overlap NUAA-SIRST mine, .*'mine all';"):
        check_overlaps(evaluated, trained, [], 'a.pth')


def test_names_in_a_config():
    assert allowed_names('a b') == ['a b']
    assert allowed_names(('a', 'b')) == ['a', 'b']
    for bad in (True, {'a': 1}, [1]):
        with pytest.raises(TypeError, match='allow_overlap must be a list of names'):
            allowed_names(bad)


def test_meta_of_checkpoints():
    provenance = Provenance([published('irsam/train')], ['backbone.pth'], ['2 of 3'])
    assert Provenance.of(provenance.as_meta(), 'x.pth') == provenance
    assert Provenance.of({'trained_on': []}, 'x.pth') == Provenance()
    assert Provenance().as_meta() == {'trained_on': []}


@pytest.mark.parametrize(
    'meta',
    [
        None,
        {},
        [1],
        {'trained_on': 'ImageNet'},
        {'trained_on': ['a']},
        {'trained_on': [{'dataset': 'a', 'name': 'b'}]},
        {'trained_on': [{'dataset': 'a', 'name': 'b', 'ids': [1]}]},
    ],
)
def test_checkpoints_of_others_are_unknown(meta):
    assert Provenance.of(meta, 'folder/x.pth') == Provenance(unknown_splits=['x.pth'])


def synthetic(**kwargs):
    return SyntheticIRSTDDataset(**({'length': 5, 'size': (32, 32), 'pipeline': []} | kwargs))


def test_synthetic_scenes_are_known_by_what_they_are_made_of():
    seen = provenance_of_dataset(synthetic(length=4)).trained_on
    (same,) = find_overlaps(provenance_of_dataset(synthetic(length=6)).trained_on, seen)
    assert str(same) == '4 of 6 images of Synthetic train were trained on (train)'
    for other in (dict(part='test'), dict(part='val'), dict(seed=1), dict(size=(32, 40)), dict(scene={'clutter': 2})):
        assert not find_overlaps(provenance_of_dataset(synthetic(**other)).trained_on, seen)
    assert seen[0]['num'] == 4
    assert provenance_of_dataset(synthetic(indices=[1, 3])).trained_on[0]['ids'] == [seen[0]['ids'][i] for i in (1, 3)]


def test_leaves_count_under_their_own_names(tiny_data):
    folder = FolderDataset(data_root=tiny_data, pipeline=[])
    both = ConcatDataset([folder, synthetic(), folder])
    entries = provenance_of_dataset(both).trained_on
    repeated = RepeatDataset(folder, 3)
    assert provenance_of_dataset(repeated).trained_on == entries[:1]
    assert list(leaves(SimpleNamespace(dataset=SimpleNamespace(datasets=[repeated, folder])))) == [folder, folder]
    assert [(e['dataset'], e['name'], e['num']) for e in entries] == [('tiny', 'all', 5), ('Synthetic', 'train', 5)]
    assert entries[0]['sha256'] == folder.split_info['sha256']


def test_datasets_of_others(tiny_data):
    def plain(**kwargs):
        return BaseSegDataset(
            data_root=str(tiny_data), img_suffix='.png', data_prefix=dict(img_path='images'), **kwargs
        )

    (entry,) = provenance_of_dataset(plain()).trained_on
    assert (entry['dataset'], entry['name']) == ('tiny', 'all')
    assert sorted(entry['ids']) == [f'images/{i}' for i in range(5)]
    assert provenance_of_dataset(TensorDataset()).unknown_splits == ['TensorDataset']

    class Named:
        def __len__(self):
            return 2

        def get_data_info(self, i):
            return {'img_path': f's3://bucket/{i}.png'}

    assert provenance_of_dataset(Named()).trained_on[0]['ids'] == ['s3://bucket/0', 's3://bucket/1']
    Named.get_data_info = lambda self, i: {}
    assert provenance_of_dataset(Named()).unknown_splits == ['Named']


def test_large_lists_are_fast():
    ids = [f'{i:06d}' for i in range(40_000)]
    random.Random(0).shuffle(ids)
    trained = merge([split_record('IRDST', 'train', ids[7_000:])])
    (overlap,) = find_overlaps([split_record('IRDST', 'test', ids[:8_000])], trained)
    assert overlap.count == 1_000


def test_on_the_real_files(real_data):
    def lists(split):
        return provenance_of_dataset(NUAASIRSTDataset(split=split, data_root=real_data / 'NUAA-SIRST')).trained_on

    evaluated, trained = lists('basicirstd/test'), lists('irsam/train')
    assert evaluated == [published('basicirstd/test')]
    with pytest.raises(OverlapError, match='172 of 214 images of NUAA-SIRST basicirstd/test were trained on'):
        check_overlaps(evaluated, trained, [], 'a.pth')
    assert check_overlaps(evaluated, trained, ['NUAA-SIRST irsam/train'], 'a.pth')[0].count == 172
    assert not check_overlaps(lists('irsam/test'), trained, [], 'a.pth')


def test_configs_do_not_overlap_themselves(real_data):
    """Those of the three sets at hand, and of synthetic scenes."""
    init_default_scope('mmseg')
    configs = sorted((ROOT / 'configs/simir').glob('simir_repvit-fast_*.py'))
    checked, seen = [], []
    for path in configs:
        cfg = Config.fromfile(path)
        if (files := [cfg.get('data_root'), cfg.train_dataloader.dataset.dataset]) in seen:
            continue
        seen.append(files)
        if not all(Path(folder).is_dir() for folder in set_data_folder(cfg, str(real_data))):
            continue
        loaders = [cfg[f'{part}_dataloader'].dataset for part in ('train', 'val', 'test')]
        train, val, test = (provenance_of_dataset(MMSEG_DATASETS.build(d)).trained_on for d in loaders)
        assert not find_overlaps(val + test, train), path
        checked.append(path.stem)
    assert len(checked) >= 4
    assert 'simir_repvit-fast_joint' in checked
