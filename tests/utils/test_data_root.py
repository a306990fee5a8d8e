import pytest
from mmengine.config import Config

from mmirstd.utils.data_root import DataRootError, check_data_root, iter_datasets, set_data_folder, set_data_root


def leaf(root='data/A', kind='mmirstd.FolderDataset'):
    return dict(type=kind, data_root=root)


def loader(dataset):
    return dict(batch_size=1, dataset=dataset)


def roots(cfg):
    return {place: dataset.get('data_root') for place, dataset in iter_datasets(cfg)}


def test_reaches_wrappers_lists_and_all_loaders():
    cfg = Config(
        dict(
            data_root='data/A',
            train_dataloader=loader(
                dict(
                    type='ConcatDataset',
                    datasets=[leaf(), dict(type='RepeatDataset', times=2, dataset=leaf('data/A/'))],
                )
            ),
            val_dataloader=[loader(leaf()), loader([leaf()])],
            test_dataloader=loader(leaf()),
        )
    )
    assert set_data_root(cfg, '/mnt/x') == ['/mnt/x']
    assert roots(cfg) == {
        'train_dataloader.dataset.datasets[0]': '/mnt/x',
        'train_dataloader.dataset.datasets[1].dataset': '/mnt/x',
        'val_dataloader[0].dataset': '/mnt/x',
        'val_dataloader[1].dataset[0]': '/mnt/x',
        'test_dataloader.dataset': '/mnt/x',
    }
    assert cfg.data_root == '/mnt/x'


def test_several_folders_keep_their_names():
    cfg = Config(
        dict(
            train_dataloader=loader(dict(type='ConcatDataset', datasets=[leaf('data/A'), leaf('data/B')])),
            val_dataloader=loader(leaf('data/B')),
            test_dataloader=loader(dict(type='mmirstd.SyntheticIRSTDDataset', length=3)),
        )
    )
    assert set_data_root(cfg, '/mnt') == ['/mnt/A', '/mnt/B']
    assert list(roots(cfg).values()) == ['/mnt/A', '/mnt/B', '/mnt/B', None]


def test_a_folder_of_datasets():
    one = Config(
        dict(data_root='data/A', train_dataloader=loader(leaf('data/A')), val_dataloader=loader(leaf('data/A/')))
    )
    assert set_data_folder(one, '/mnt') == ['/mnt/A']
    assert set(roots(one).values()) == {'/mnt/A'}
    assert one.data_root == '/mnt/A'
    none = Config(dict(train_dataloader=loader(dict(type='mmirstd.SyntheticIRSTDDataset', length=3))))
    assert set_data_folder(none, '/mnt') == []


@pytest.mark.parametrize('dataset', [dict(type='mmirstd.SyntheticIRSTDDataset', length=3), None])
def test_nothing_to_set(dataset):
    cfg = Config(dict(train_dataloader=None if dataset is None else loader(dataset)))
    with pytest.raises(DataRootError, match='/mnt: no dataset of this config reads files'):
        set_data_root(cfg, '/mnt')


def test_missing_folder_is_named(tmp_path):
    (tmp_path / 'A').mkdir()
    cfg = Config(
        dict(train_dataloader=loader(leaf(str(tmp_path / 'A'))), test_dataloader=loader(leaf(str(tmp_path / 'B'))))
    )
    check_data_root(cfg, ('train', 'val'))
    with pytest.raises(DataRootError, match=rf'{tmp_path}/B \(test_dataloader.dataset, mmirstd.FolderD.*--data-root'):
        check_data_root(cfg, ('test',))
