"""Renaming of published keys."""

import pytest

from mmirstd.checkpoints.convert.renaming import from_zero, rename, renamed, stage_depths, stem_prefix, whole_keys


def test_the_first_rule_that_matches_the_start_counts():
    rules = ((r'block(\d)\.conv(\d)\.', from_zero('blocks.{}.{}.')), (r'b(\w+)', r'\1'), ('bl', 'never'))
    assert rename('block1.conv2.weight', rules) == 'blocks.0.1.weight'
    assert rename('bl', rules) == 'l'
    assert rename('other.block1.conv2.weight', rules) is None
    assert rename('weights', whole_keys(('weight', 'w'))) is None
    assert rename('weight', whole_keys(('bias|weight', 'w'))) == 'w'


def test_keys_without_a_place_and_keys_that_meet_are_refused():
    assert renamed({'a': 1, 'b': 2}, str.upper, 'a net') == {'A': 1, 'B': 2}
    with pytest.raises(ValueError, match=r"nowhere in a net: \['a', 'b'\]"):
        renamed({'b': 1, 'a': 2, 'c': 3}, {'c': 'd'}.get, 'a net')
    with pytest.raises(ValueError, match='one and the same in a net'):
        renamed({'a': 1, 'A': 2}, str.upper, 'a net')


def test_the_prefix_of_the_one_network_in_a_model():
    assert stem_prefix({'stem.weight': 0, 'x': 0}, 'stem.weight', 'a net') == ''
    assert stem_prefix({'model.net.stem.weight': 0}, 'stem.weight', 'a net') == 'model.net.'
    with pytest.raises(ValueError, match=r"not a net in its authors' layout; its first keys: \['mystem.weight'\]"):
        stem_prefix({'mystem.weight': 0}, 'stem.weight', 'a net')
    with pytest.raises(ValueError, match=r'not a net .* 2 of them'):
        stem_prefix({'a.stem.weight': 0, 'b.stem.weight': 0}, 'stem.weight', 'a net')


@pytest.mark.parametrize('between', ['', 'blocks.'])
def test_depths_by_keys(between):
    blocks = [(0, block) for block in range(2)] + [(2, block) for block in range(11)] + [(1, 0)]
    keys = [f'stages.{stage}.{between}{block}.{part}' for stage, block in blocks for part in ('weight', 'bias')]
    assert stage_depths(dict.fromkeys([*keys, 'stem.0.weight', 'stages.0.downsample.weight'])) == (2, 1, 11)
