# ruff: noqa: NPY002 - the global generators are the subject
import pickle
import random

import numpy as np
import pytest
import torch
from mmengine.dataset import InfiniteSampler
from torch.utils.data import DataLoader, Dataset

from mmirstd.engine import StrictRunner, seeding
from mmirstd.engine.seeding import CountingSampler, SampleIndex, SeededSamples
from mmirstd.utils import random_state


class Draws(Dataset):
    """Each sample is its index and a number from each generator."""

    metainfo = {'classes': ('target',)}  # noqa: RUF012
    test_mode = False

    def __len__(self):
        return 5

    def __getitem__(self, index):
        assert type(index) is int
        return {'draw': (index, random.random(), np.random.rand(), torch.rand(()).item())}


def loader(workers=0, seed=3, batch_size=2, sampler='InfiniteSampler', **kwargs):
    cfg = dict(
        batch_size=batch_size,
        num_workers=workers,
        sampler=dict(type=sampler, shuffle=True),
        dataset=dict(type=Draws),
        collate_fn=dict(type=list),
        **kwargs,
    )
    return StrictRunner.build_dataloader(cfg, seed=seed)


def samples(data_loader, count):
    found = []
    iterator = iter(data_loader)
    while len(found) < count:
        found += [sample['draw'] for sample in next(iterator)]
    return found[:count]


def test_samples_do_not_depend_on_workers_or_batches():
    expected = samples(loader(), 12)
    assert len(set(expected)) == 12, 'the same index drawn twice gives different numbers'
    for workers, batch_size in ((1, 2), (2, 2), (2, 3)):
        assert samples(loader(workers, batch_size=batch_size), 12) == expected
    assert samples(loader(seed=4), 12) != expected


def test_indices_are_the_samplers_own():
    inner = iter(InfiniteSampler(Draws(), seed=3))
    assert [s[0] for s in samples(loader(), 12)] == [next(inner) for _ in range(12)]


def test_ranks_draw_different_samples_of_one_stream(monkeypatch):
    expected = samples(loader(), 12)
    for rank in (0, 1, 2):
        for module in (seeding, __import__('mmengine.dataset.sampler', fromlist=['x'])):
            monkeypatch.setattr(module, 'get_dist_info', lambda rank=rank: (rank, 3))
        assert samples(loader(), 4) == expected[rank::3]


@pytest.mark.skipif(not hasattr(InfiniteSampler, 'skip'), reason='mmengine 0.10.7 loads what it skips')
def test_skipping_continues_the_stream():
    expected = samples(loader(), 12)
    resumed = loader(workers=1)
    resumed.sampler.skip(8)
    assert samples(resumed, 4) == expected[8:]


def test_epochs_differ_and_repeat():
    finite = loader(sampler='DefaultSampler')
    assert not hasattr(finite.sampler, 'skip')
    first = samples(finite, 5)
    assert samples(finite, 5) == first
    finite.sampler.set_epoch(1)
    second = samples(finite, 5)
    assert {s[1] for s in first}.isdisjoint(s[1] for s in second)
    finite.sampler.set_epoch(0)
    assert samples(finite, 5) == first


def test_the_main_process_keeps_its_generators():
    state = random_state.rng_state()
    expected = (random.random(), np.random.rand(), torch.rand(()))
    random_state.set_rng_state(state)
    samples(loader(workers=0), 6)
    samples(loader(workers=1), 6)
    assert (random.random(), np.random.rand(), torch.rand(())) == expected


def test_generators_after_a_checkpoint(tmp_path):
    torch.save({'rng': random_state.rng_state()}, tmp_path / 'a.pth')
    expected = (random.random(), np.random.randn(3).tolist(), torch.rand(()))
    from mmirstd.checkpoints.loading import load_file

    random_state.set_rng_state(load_file(tmp_path / 'a.pth')['rng'])
    assert (random.random(), np.random.randn(3).tolist(), torch.rand(())) == expected


def test_keys_of_neighbors_give_unrelated_draws():
    draws = []
    for draw in range(2000):
        random_state.seed_generators(0, 0, draw)
        draws.append((random.random(), np.random.rand(), torch.rand(()).item()))
    draws = np.array(draws)
    # Uniform, and uncorrelated from draw to draw and between generators: bounds of four standard errors.
    assert np.abs(draws.mean(0) - 0.5).max() < 4 * 12**-0.5 * 2000**-0.5
    pairs = np.concatenate([draws[1:], draws[:-1]], axis=1)
    assert np.abs(np.corrcoef(pairs.T) - np.eye(6)).max() < 4 * 2000**-0.5


def test_index_travels():
    index = pickle.loads(pickle.dumps(SampleIndex(7, (1, 2, 3))))
    assert (index, type(index), index.key, index + 1) == (7, SampleIndex, (1, 2, 3), 8)


def test_the_wrapper_is_the_dataset_otherwise():
    wrapped = SeededSamples(Draws())
    assert (len(wrapped), wrapped.metainfo, wrapped.test_mode) == (5, Draws.metainfo, False)
    assert wrapped[2]['draw'][0] == 2
    assert pickle.loads(pickle.dumps(wrapped)).metainfo == Draws.metainfo
    with pytest.raises(AttributeError, match='full_init'):
        wrapped.full_init()


def test_a_seed_is_found_where_none_is_given():
    sampler = CountingSampler(dict(type='InfiniteSampler'), Draws())
    assert sampler.seed == sampler.sampler.seed
    assert next(iter(sampler)).key == (sampler.seed, 0, 0)


def test_a_built_loader_is_taken_as_it_is():
    built = DataLoader(Draws(), batch_size=2, collate_fn=list)
    assert StrictRunner.build_dataloader(built) is built
