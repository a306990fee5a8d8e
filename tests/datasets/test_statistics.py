"""Statistics against loops over pixels that share nothing with them."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmirstd.evaluation import match_targets
from mmirstd.ops.target_statistics import image_statistics, noise_level, quantiles, target_statistics, to_gray


def flood(mask):
    """8-connected targets in raster order of their first pixels, each a list of (row, col)."""
    height, width = len(mask), len(mask[0])
    seen, targets = set(), []
    for y in range(height):
        for x in range(width):
            if mask[y][x] != 1 or (y, x) in seen:
                continue
            stack, pixels = [(y, x)], []
            seen.add((y, x))
            while stack:
                r, c = stack.pop()
                pixels.append((r, c))
                for a in range(max(0, r - 1), min(height, r + 2)):
                    for b in range(max(0, c - 1), min(width, c + 2)):
                        if mask[a][b] == 1 and (a, b) not in seen:
                            seen.add((a, b))
                            stack.append((a, b))
            targets.append(sorted(pixels))
    return targets


def reference(image, mask, width, gap):
    image, mask = image.astype(float).tolist(), mask.tolist()
    height, length = len(mask), len(mask[0])
    every = [p for t in flood(mask) for p in t]
    rows = []
    for pixels in flood(mask):
        top, bottom = min(r for r, _ in pixels), max(r for r, _ in pixels)
        left, right = min(c for _, c in pixels), max(c for _, c in pixels)
        around = [
            image[y][x]
            for y in range(max(0, top - width), min(height, bottom + width + 1))
            for x in range(max(0, left - width), min(length, right + width + 1))
            if mask[y][x] == 0 and all(max(abs(y - r), abs(x - c)) > gap for r, c in every)
        ]
        mean = math.fsum(image[r][c] for r, c in pixels) / len(pixels)
        border = top == 0 or left == 0 or bottom == height - 1 or right == length - 1
        if not around:
            rows.append((len(pixels), math.nan, math.nan, math.nan, 0, border))
            continue
        ground = math.fsum(around) / len(around)
        sigma = (
            0.0 if max(around) == min(around) else math.sqrt(math.fsum((v - ground) ** 2 for v in around) / len(around))
        )
        contrast = mean - ground
        scr = abs(contrast) / sigma if sigma else (math.inf if contrast else math.nan)
        rows.append((len(pixels), contrast, sigma, scr, len(around), border))
    return rows


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.tuples(st.integers(1, 24), st.integers(1, 24)),
    st.sampled_from([0.0, 0.02, 0.1, 0.6, 1.0]),
    st.sampled_from(['uint8', 'uint16', 'float32', 'flat']),
    st.integers(1, 6),
    st.integers(0, 3),
)
def test_targets_as_a_plain_loop_has_them(seed, shape, density, kind, width, gap):
    rng = np.random.default_rng(seed)
    mask = (rng.random(shape) < density).astype(np.uint8)
    mask[rng.random(shape) < 0.05] = 255
    high = {'uint8': 256, 'uint16': 65536, 'float32': 256, 'flat': 2}[kind]
    image = rng.integers(0, high, shape).astype('uint8' if kind == 'flat' else kind)
    if kind == 'flat':
        image[:] = 7
    gap = min(gap, width - 1)
    got = target_statistics(image, mask, width=width, gap=gap)
    expected = reference(image, mask, width, gap)
    fields = (got.area, got.contrast, got.clutter, got.scr, got.background, got.at_border)
    assert len(got) == len(expected)
    for column, values in zip(fields, zip(*expected, strict=True), strict=True) if expected else ():
        np.testing.assert_allclose(column, values, rtol=1e-9, atol=1e-9)


def test_a_target_by_hand():
    """Two of 2 x 1 and 1 x 1 pixels on a checkerboard of 10 and 14; other targets are not background."""
    image = np.where(np.indices((9, 9)).sum(0) % 2, 14, 10).astype(np.uint8)
    mask = np.zeros((9, 9), np.uint8)
    mask[4, 3:5] = mask[4, 6] = 1
    image[mask == 1] = 50
    got = target_statistics(image, mask, width=1)
    around = np.delete(image[3:6, 2:6].ravel(), [5, 6]).astype(float)
    assert got.area.tolist() == [2, 1]
    assert got.boxes.tolist() == [[4, 3, 5, 5], [4, 6, 5, 7]]
    assert got.background.tolist() == [10, 8]
    assert got.contrast[0] == pytest.approx(50 - around.mean())
    assert got.scr[0] == pytest.approx((50 - around.mean()) / around.std())
    assert not got.at_border.any()


def test_edge_cases():
    flat, mask = np.full((8, 8), 20, np.uint8), np.zeros((8, 8), np.uint8)
    assert len(target_statistics(flat, mask)) == 0
    mask[0, 0] = 1
    same = target_statistics(flat, mask)
    assert same.contrast[0] == 0
    assert same.clutter[0] == 0
    assert math.isnan(same.scr[0])
    assert same.at_border[0]
    bright = flat.copy()
    bright[0, 0] = 90
    assert target_statistics(bright, mask).scr[0] == math.inf
    dark = flat.copy()
    dark[0, 0] = 3
    assert target_statistics(dark, mask).contrast[0] == -17
    whole = target_statistics(flat, np.ones((8, 8), bool))
    assert whole.background[0] == 0
    assert math.isnan(whole.contrast[0])
    assert math.isnan(whole.scr[0])
    coloured_flat = np.full((8, 8, 3), (10, 20, 31), np.uint8)
    assert target_statistics(coloured_flat, mask).clutter[0] == 0


def test_components_that_are_known_give_the_same_and_line_up_with_matches():
    rng = np.random.default_rng(0)
    mask = (rng.random((40, 40)) < 0.03).astype(np.uint8)
    image = rng.integers(0, 256, (40, 40)).astype(np.uint8)
    matches = match_targets(mask, mask)
    own, given_ = target_statistics(image, mask), target_statistics(image, mask, components=matches.targets)
    np.testing.assert_array_equal(own.scr, given_.scr)
    np.testing.assert_array_equal(own.area, matches.targets.area)
    four = target_statistics(image, mask, connectivity=4)
    assert len(four) > len(own)


@pytest.mark.parametrize('dtype', ['uint8', 'uint16', 'float32', 'float64'])
@pytest.mark.parametrize('shape', [(1, 1), (3, 2), (3, 3), (17, 30)])
def test_image_statistics(shape, dtype):
    rng = np.random.default_rng(1)
    image = rng.integers(0, 256, shape).astype(dtype)
    mask = (rng.random(shape) < 0.2).astype(np.uint8)
    mask[0, 0] = 255
    got = image_statistics(image, mask)
    values = [float(v) for row in image.tolist() for v in row]
    mean = math.fsum(values) / len(values)
    assert (got.height, got.width) == shape
    assert got.mean == pytest.approx(mean)
    assert got.std == pytest.approx(math.sqrt(math.fsum((v - mean) ** 2 for v in values) / len(values)))
    assert (got.low, got.high) == (min(values), max(values))
    assert got.targets == len(flood(mask.tolist()))
    assert got.target_pixels == (mask == 1).sum()
    assert got.ignored_pixels == 1
    assert got.empty == (got.targets == 0)
    assert math.isnan(got.noise) == (min(shape) < 3)
    three = image_statistics(np.repeat(image[..., None], 3, axis=2), mask)
    np.testing.assert_equal(three, got)
    np.testing.assert_equal(image_statistics(image[..., None], mask), got)


@pytest.mark.parametrize('sigma', [0.5, 3, 20])
def test_noise_is_found_under_a_ramp(sigma):
    rng = np.random.default_rng(2)
    y, x = np.mgrid[:300, :200]
    assert noise_level(2 * y - 0.7 * x + rng.normal(0, sigma, (300, 200))) == pytest.approx(sigma, rel=0.02)
    assert noise_level((y * x).astype(float)[:50, :50]) == pytest.approx(0, abs=1e-9)


def test_grey():
    bgr = np.random.default_rng(3).integers(0, 256, (5, 4, 3)).astype(np.uint8)
    b, g, r = np.moveaxis(bgr.astype(float), 2, 0)
    np.testing.assert_allclose(to_gray(bgr), 0.299 * r + 0.587 * g + 0.114 * b)
    np.testing.assert_array_equal(to_gray(np.repeat(bgr[..., :1], 3, 2)), bgr[..., 0])


@pytest.mark.parametrize('shape', [(4,), (4, 4, 2), (4, 4, 4), (1, 2, 3, 4)])
def test_no_image(shape):
    with pytest.raises(ValueError, match='an image must be'):
        to_gray(np.zeros(shape))


def test_mistakes():
    image, mask = np.zeros((4, 4), np.uint8), np.zeros((4, 4), np.uint8)
    with pytest.raises(ValueError, match=r'of one size.*\(4, 4\) and \(4, 5\)'):
        target_statistics(image, np.zeros((4, 5), np.uint8))
    with pytest.raises(ValueError, match=r'must hold 0, 1 and 255 .* got 128'):
        image_statistics(image, np.array([[0, 128]] * 2).repeat(2, 0).repeat(2, 1).astype(np.uint8))
    with pytest.raises(ValueError, match='width must be at least 1'):
        target_statistics(image, mask, width=0)
    with pytest.raises(ValueError, match=r'gap in \[0, width\), got 3 and 3'):
        target_statistics(image, mask, width=3, gap=3)


def test_quantiles_are_observed_values():
    assert quantiles([3, 1, 2, math.nan]) == [1, 1, 1, 2, 3, 3, 3]
    assert quantiles([1, math.inf, 2], (0.5, 1)) == [2, math.inf]
    assert all(map(math.isnan, quantiles([math.nan])))
    values = np.random.default_rng(4).random(1000)
    assert quantiles(values, (0.1,))[0] == np.sort(values)[99]
