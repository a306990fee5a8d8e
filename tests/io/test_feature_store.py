"""Features on disk: what is read is what was written, and nothing that is not whole."""

import json

import numpy as np
import pytest

from mmirstd.io.feature_store import CHUNK, FeatureStore, FeatureStoreError

KEY = {'teacher': 'a', 'views': 'b'}
SHAPES = [(3, 4, 5), (1, 2, 2)]


def features(samples, seed=0):
    return [[np.random.default_rng((seed, i)).normal(size=s).astype(np.float32) for s in SHAPES] for i in samples]


def test_maps_come_back_in_half_precision(tmp_path):
    store = FeatureStore.create(tmp_path, KEY, CHUNK + 5, SHAPES, {'sources': [['x', {}]]})
    assert [len(chunk) for chunk in store.missing()] == [CHUNK, 5]
    for chunk in list(store.missing()):
        store.write(chunk, features(chunk))
    again = FeatureStore(tmp_path)
    assert not list(again.missing())
    assert again.note == {'sources': [['x', {}]]}
    for sample in (0, CHUNK - 1, CHUNK, CHUNK + 4):
        (expected,) = features([sample])
        got = again.read(sample)
        assert [m.dtype for m in got] == [np.float16] * 2
        for a, b in zip(got, expected, strict=True):
            np.testing.assert_array_equal(a, b.astype(np.float16))
    assert again.num_bytes == sum(p.stat().st_size - 128 for p in tmp_path.glob('*.npy'))


def test_an_interrupted_run_goes_on(tmp_path):
    store = FeatureStore.create(tmp_path, KEY, 2 * CHUNK, SHAPES, {})
    first = next(store.missing())
    store.write(first, features(first))
    (tmp_path / '.000001.npy.123.tmp').write_bytes(b'half of it')
    again = FeatureStore.create(tmp_path, KEY, 2 * CHUNK, SHAPES, {})
    assert list(again.missing()) == [range(CHUNK, 2 * CHUNK)]
    assert sorted(p.name for p in tmp_path.iterdir()) == ['000000.npy', 'index.json']
    with pytest.raises(FeatureStoreError, match=f'it has {2 * CHUNK}, of which {CHUNK} are not made'):
        again.read(CHUNK)
    assert len(again.read(CHUNK - 1)) == 2


def test_a_write_that_fails_leaves_nothing(tmp_path):
    store = FeatureStore.create(tmp_path, KEY, 2, SHAPES, {})
    maps = features(range(2))
    maps[1][0][0, 0, 0] = 1e6
    with pytest.raises(FeatureStoreError, match='sample 1: features that are not finite, or too large for float16'):
        store.write(range(2), maps)
    assert [p.name for p in tmp_path.iterdir()] == ['index.json']


def test_more_samples_can_come_later(tmp_path):
    store = FeatureStore.create(tmp_path, KEY, 10, SHAPES, {})
    store.write(range(10), features(range(10)))
    more = FeatureStore.create(tmp_path, KEY, CHUNK + 1, SHAPES, {})
    assert list(more.missing()) == [range(CHUNK), range(CHUNK, CHUNK + 1)]
    assert FeatureStore.create(tmp_path, KEY, 10, SHAPES, {}).num == CHUNK + 1


def test_what_is_of_something_else_is_refused(tmp_path):
    FeatureStore.create(tmp_path, KEY, 10, SHAPES, {})
    with pytest.raises(FeatureStoreError, match='is stale: another teacher than'):
        FeatureStore.create(tmp_path, KEY | {'teacher': 'c'}, 10, SHAPES, {})
    with pytest.raises(FeatureStoreError, match='another teacher and another views'):
        FeatureStore(tmp_path).check({'teacher': 'c', 'views': 'd'})
    with pytest.raises(FeatureStoreError, match=r'holds maps of \[\(3, 4, 5\)'):
        FeatureStore.create(tmp_path, KEY, 10, SHAPES[:1], {})


def test_damage_is_named(tmp_path):
    with pytest.raises(FeatureStoreError, match='there is no store of features'):
        FeatureStore(tmp_path)
    store = FeatureStore.create(tmp_path, KEY, 3, SHAPES, {})
    store.write(range(3), features(range(3)))
    path = tmp_path / '000000.npy'
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(FeatureStoreError, match=r'000000\.npy is damaged'):
        FeatureStore(tmp_path).read(0)
    np.save(path, np.zeros((3, 4), np.float16))
    with pytest.raises(FeatureStoreError, match=r'000000\.npy is damaged'):
        FeatureStore(tmp_path).read(0)
    np.save(path, np.array([{}]), allow_pickle=True)
    with pytest.raises(FeatureStoreError, match=r'000000\.npy is damaged'):
        FeatureStore(tmp_path).read(0)
    index = json.loads((tmp_path / 'index.json').read_text())
    del index['chunk']
    (tmp_path / 'index.json').write_text(json.dumps(index))
    with pytest.raises(FeatureStoreError, match=r"index\.json is damaged: 'chunk'; delete "):
        FeatureStore(tmp_path)
