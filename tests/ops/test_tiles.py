"""Tiles: how an axis is cut, weights that sum to one, and windows that a function sees."""

import itertools

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import ndimage

from mmirstd.ops.tiles import Tiling, predict_bands, predict_tiles
from mmirstd.utils.errors import ArgumentError


@settings(deadline=None)  # no test measures time
@given(st.integers(1, 3000), st.integers(3, 400), st.integers(0, 200), st.sampled_from([1, 2, 16, 32]))
def test_spans_and_weights(length, size, overlap, align):
    assume(overlap <= size // 2 and size // align * align - overlap >= 2 * align)
    tiling = Tiling(size, overlap, align)
    spans, weights = tiling.spans(length), tiling.weights(length)
    assert (spans[0][0], spans[-1][1]) == (0, length)
    total = np.zeros(length)
    for (start, end), weight in zip(spans, weights, strict=True):
        assert start % align == 0
        assert end == length or end % align == 0
        assert len(weight) == end - start <= size
        total[start:end] += weight
        margin = tiling.margin
        assert start == 0 or not weight[:margin].any()
        assert end == length or not weight[len(weight) - margin :].any()
    np.testing.assert_allclose(total, 1, atol=1e-6)
    for (_, end), (start, _) in itertools.pairwise(spans):
        assert end - start >= overlap


@pytest.mark.parametrize('arguments', [(64, 33), (64, -1), (64, 16, 32), (0, 0), (64, 8, 0)])
def test_no_room_for_tiles(arguments):
    with pytest.raises(ArgumentError, match='overlap'):
        Tiling(*arguments)


@pytest.mark.parametrize('shape', [(70, 90), (33, 200), (200, 20), (31, 32)])
def test_a_filter_no_wider_than_the_margin_sees_no_tiles(shape):
    image = np.random.default_rng(0).random(shape, np.float32)
    tiling = Tiling(48, 24)
    blur = lambda window: ndimage.uniform_filter(window, 2 * tiling.margin - 1, mode='constant')
    np.testing.assert_allclose(predict_tiles(image, blur, tiling), blur(image), atol=1e-6)


def test_rows_are_read_once_and_bands_follow_each_other():
    read, at = [], 0

    def rows(top, bottom):
        read.append((top, bottom))
        return np.full((bottom - top, 60, 3), 7, np.uint8)

    tiling = Tiling(32, 8)
    for top, band in predict_bands(rows, (100, 60), lambda window: window[..., 0] / np.float32(7), tiling):
        assert top == at
        assert band.dtype == np.float32
        assert band.shape[0] <= 32
        np.testing.assert_allclose(band, 1, atol=1e-6)
        assert band.max() <= 1
        at += len(band)
    assert at == 100
    assert read == tiling.spans(100)


def test_a_map_of_another_size_is_an_error():
    with pytest.raises(ValueError, match=r'a tile of \(32, 32\) gave a map of \(31, 32\)'):
        predict_tiles(np.zeros((32, 32)), lambda window: window[1:], Tiling(32, 8))
