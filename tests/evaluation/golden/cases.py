"""The cases of the golden files: predictions (logits) and masks, made from a seed.

`sha256` in cases.json guards them: whoever changes a case has to make all golden files again (see ../make_golden.md).
"""

import hashlib
from typing import NamedTuple

import numpy as np

LOW, HIGH = -5.0, 3.0  # logits: probabilities 0.0067 and 0.9526


class Case(NamedTuple):
    """`logit` (H, W) float32 is what a network puts out; `mask` (H, W) uint8 holds the values of the mask file."""

    name: str
    group: str  # 'plain', 'matching', 'knife' (distance 3), 'threshold' (logits next to 0), 'values' (gray masks)
    logit: np.ndarray
    mask: np.ndarray


def probability(logit):
    """Sigmoid in float64, rounded to float32: the same on every machine."""
    return (1 / (1 + np.exp(-logit.astype(np.float64)))).astype(np.float32)


def nearest(array, size, rule='centre'):
    """Resize (H, W) to `size` by nearest neighbor as Pillow (`centre`) or OpenCV (`corner`) does, bit for bit."""
    indices = []
    for n, source in zip(size, array.shape, strict=True):
        corner, centre = np.arange(n) * (1 / (n / source)), np.cumsum([source / n / 2] + [source / n] * (n - 1))
        indices.append(np.minimum({'corner': corner, 'centre': centre}[rule].astype(int), source - 1))
    return array[np.ix_(*indices)]


def at_size(logit, size):
    """What the network puts out where the protocol shows it the image at another size."""
    return logit if logit.shape == tuple(size) else nearest(logit, size)


def digest(case):
    """sha256 of shape, logits and mask, little endian."""
    parts = (repr(case.logit.shape).encode(), case.logit.astype('<f4').tobytes(), case.mask.astype('u1').tobytes())
    return hashlib.sha256(b''.join(parts)).hexdigest()


def cases():
    """All cases, in order."""
    found = [case for size in (256, 512) for case in _drawn(size)]
    found += [case for size in (256, 512) for case in _knife(size)]
    found += [case for size in (256, 512) for case in _matching(size)]
    found += [case for size in (256, 512) for case in (_at_threshold(size), _mask_values(size))]
    rng = np.random.default_rng(20240911)
    found += [_random(rng, f'random_256_{i}', (256, 256)) for i in range(12)]
    found += [_random(rng, f'random_512_{i}', (512, 512)) for i in range(5)]
    odd = [(217, 301), (301, 217), (95, 131), (320, 240), (257, 255), (33, 47), (416, 608), (512, 256)]
    found += [_random(rng, f'random_{h}x{w}', (h, w)) for h, w in odd]
    noise = [('noise_256', (256, 256), 0.006), ('noise_217x301', (217, 301), 0.006), ('noise_512', (512, 512), 0.0015)]
    found += [_noise(rng, *item) for item in [*noise, ('dense_noise_60x45', (60, 45), 0.3)]]
    return found


def sets():
    """Name -> names of the cases that are accumulated under it."""
    every = cases()
    plain = [c for c in every if c.group == 'plain']
    chosen = {
        'plain': plain,
        'matching': [c for c in every if c.group == 'matching'],
        'knife': [c for c in every if c.group == 'knife'],
        'threshold': [c for c in every if c.group == 'threshold'],
        'values': [c for c in every if c.group == 'values'],
    }
    return {name: [c.name for c in members] for name, members in chosen.items()}


def _grid(size, *boxes):
    """A bool mask with boxes (top, left, height, width); negative positions count from the far border."""
    grid = np.zeros((size, size), bool)
    for top, left, height, width in boxes:
        top, left = (p + size if p < 0 else p for p in (top, left))
        grid[top : top + height, left : left + width] = True
    return grid


def _points(size, *points):
    grid = np.zeros((size, size), bool)
    for row, col in points:
        grid[row, col] = True
    return grid


def _case(name, predicted, target, group='plain'):
    logit = np.where(predicted, np.float32(HIGH), np.float32(LOW))
    return Case(name, group, logit, target.astype(np.uint8) * np.uint8(255))


def _drawn(n):
    def box(*boxes):
        return _grid(n, *boxes)

    def dots(*points):
        return _points(n, *points)

    none, full = box(), ~box()
    many = [(100 + 8 * i, 30 * j, 2, 2) for i in range(6) for j in range(1, 6)]
    ring = box((60, 60, 9, 9)) & ~box((62, 62, 5, 5))
    vee = dots(*[(50 + i, 50 + i) for i in range(8)], *[(50 + i, 66 - i) for i in range(9)])
    faint = _case(f'faint_{n}', none, box((50, 50, 4, 4), (90, 90, 3, 3)))
    faint.logit[50:54, 50:54], faint.logit[20:22, 20:22] = -1.0, -1.7  # highest probability 0.27
    drawn = [
        ('empty', none, none),
        ('false_alarms_alone', box((30, 30, 3, 3), (80, 20, 2, 5)), none),
        ('missed', none, box((30, 30, 3, 3), (80, 20, 2, 5))),
        ('all_positive_no_target', full, none),
        ('all_positive', full, box((30, 30, 3, 3), (n // 2 - 2, n // 2 - 2, 4, 4))),
        ('all_positive_and_target', full, full),
        ('all_target_missed', none, full),
        ('perfect', box((30, 30, 3, 3), (80, 20, 2, 5)), box((30, 30, 3, 3), (80, 20, 2, 5))),
        ('corners', box((0, 0, 3, 3), (0, -2, 2, 2), (-4, 0, 4, 2), (-1, -1, 1, 1)),
         box((0, 0, 2, 2), (0, -3, 3, 3), (-3, 0, 3, 3), (-2, -2, 2, 2))),
        ('borders', box((0, 100, 3, 6), (-3, 101, 3, 6), (99, 0, 6, 1), (104, -1, 6, 1)),
         box((0, 101, 2, 6), (-2, 100, 2, 6), (100, 0, 6, 2), (100, -2, 6, 2))),
        ('wrap_around', dots((40, n - 1), (41, 0), (n - 1, 60), (0, 61)), dots((40, n - 1), (n - 1, 60))),
        ('diagonal_targets', box((40, 40, 2, 2), (90, 90, 2, 2)),
         dots((40, 40), (41, 41), (90, 90), (91, 91), (90, 92))),
        ('diagonal_predictions', dots((40, 40), (41, 41), (42, 40), (90, 90), (91, 91), (92, 92), (93, 93)),
         box((40, 40, 3, 2), (90, 90, 4, 4))),
        ('two_near_one', box((40, 42, 1, 2), (43, 42, 2, 2)), box((41, 41, 4, 4))),
        ('two_near_one_equal_areas', box((40, 42, 1, 2), (44, 42, 1, 2)), box((41, 41, 4, 4))),
        ('three_near_one', dots((48, 50), (50, 50), (52, 50)), box((49, 49, 3, 3))),
        ('one_over_two', box((40, 40, 3, 8)), box((40, 40, 3, 3), (40, 45, 3, 3))),
        ('one_near_two', box((40, 43, 3, 2)), box((40, 41, 3, 1), (40, 46, 3, 1))),
        ('greedy_steals', dots((50, 52), (50, 55)), dots((50, 50), (50, 54))),
        ('greedy_two_pairs', dots((50, 52), (53, 50)), dots((51, 50), (50, 54))),
        ('nearest_is_second', dots((48, 50), (51, 50)), dots((50, 50))),
        ('equal_areas', box((40, 40, 3, 3), (100, 100, 3, 3), (150, 60, 9, 1), (180, 60, 2, 2)), box((40, 40, 3, 3))),
        ('equal_areas_many', box((40, 40, 2, 2), (70, 40, 3, 3), *many, (200, 200, 3, 3), (220, 220, 5, 1)),
         box((40, 40, 2, 2), (71, 40, 3, 3))),
        ('equal_areas_not_matched', box((100, 100, 3, 3), (150, 60, 3, 3)), box((40, 40, 3, 3))),
        ('one_pixel_targets', dots((20, 20), (20, 41), (41, 60), (60, 82), (80, 103), (100, 124)),
         dots((20, 20), (20, 40), (40, 60), (60, 80), (80, 100), (100, 120))),
        ('one_pixel_diagonal_distance', dots((22, 22), (62, 61), (103, 101)), dots((20, 20), (60, 60), (100, 100))),
        ('distance_below_3', box((20, 22, 1, 2), (60, 60, 1, 1)), box((20, 20, 1, 1), (60, 61, 1, 4))),
        ('distance_is_3', dots((20, 23), (63, 60), (100, 97), (140, 143)),
         dots((20, 20), (60, 60), (100, 100), (140, 140))),
        ('distance_above_3', dots((21, 23), (63, 59)), dots((20, 20), (60, 60))),
        ('ring', ring, box((63, 63, 3, 3))),
        ('ring_and_inner', ring | box((63, 63, 3, 3)), box((60, 60, 9, 9))),
        ('late_merging_shape', vee | box((53, 56, 1, 3)), vee),
        ('label_order', dots((52, 48), (50, 52), (48, 56), (50, 60)) | box((54, 40, 1, 12)),
         box((50, 50, 1, 3), (51, 46, 2, 2), (49, 57, 2, 2))),
        ('target_split_in_two', box((50, 50, 6, 2), (50, 54, 6, 2)), box((50, 50, 6, 6))),
        ('big_prediction_small_target', box((40, 40, 40, 40)), dots((60, 60))),
        ('big_target_small_prediction', dots((59, 59)), box((40, 40, 40, 40))),
        ('stripes', np.arange(n)[:, None] % 2 == np.zeros((1, n)), box((40, 40, 4, 4))),
        ('checkerboard', np.add.outer(np.arange(n), np.arange(n)) % 2 == 0, box((40, 40, 4, 4))),
        ('targets_only_two_pixels_apart', box((40, 40, 2, 2), (40, 44, 2, 2)), box((40, 42, 2, 2), (40, 46, 2, 2))),
    ]  # fmt: skip
    return [*(_case(f'{name}_{n}', predicted, target) for name, predicted, target in drawn), faint]


def _matching(n):
    """Components on which ways of matching differ: label order, nearest first, least total distance, overlap."""
    drawn = {
        'greedy_loses_one': (_points(n, (49, 52), (52, 50)), _points(n, (50, 50), (50, 54))),
        'nearest_first_loses_one': (_points(n, (50, 52), (50, 55)), _points(n, (50, 50), (50, 53))),
        'least_total_loses_one': (_points(n, (50, 52), (50, 40)), _points(n, (50, 50), (50, 62))),
        'overlap_far_centroid': (_grid(n, (50, 50, 2, 30)), _grid(n, (50, 50, 2, 20))),
        'overlap_of_one_pixel': (_grid(n, (54, 54, 6, 6)), _grid(n, (50, 50, 5, 5))),
        'near_without_overlap': (_points(n, (50, 52), (51, 52)), _points(n, (50, 50), (51, 50))),
        'half_overlap': (_grid(n, (50, 50, 4, 20)), _grid(n, (50, 50, 4, 40))),
        'near_one_overlaps_other': (_grid(n, (50, 52, 3, 12)), _grid(n, (50, 50, 3, 8), (50, 62, 3, 3))),
        'chain': (_points(n, *[(60, 50 + 4 * i) for i in range(6)]), _points(n, *[(60, 52 + 4 * i) for i in range(6)])),
    }
    for name, (predicted, target) in drawn.items():
        yield _case(f'{name}_{n}', predicted, target, 'matching')


def _knife(n):
    """Centroids whose distance is 3 in exact arithmetic, (9, 12) / 5 apart, so that rounding decides."""
    five = [(1, 2), (2, 1), (2, 2), (2, 3), (2, 4)]
    origins = [(r, c) for r in (8, 31, 64, 127, 201) for c in (9, 63, 100, 128, 210)]
    predicted, target = np.zeros((2, n, n), bool)
    for row, col in origins:
        target[row, col] = True
        for dr, dc in five:
            predicted[row + dr, col + dc] = True
    yield _case(f'knife_five_{n}', predicted, target, 'knife')
    yield _case(f'knife_five_mirrored_{n}', predicted[::-1, ::-1], target[::-1, ::-1], 'knife')
    yield _case(f'knife_five_transposed_{n}', predicted.T, target.T, 'knife')


def _at_threshold(n):
    """Logits around 0: exactly 0, too small for float32's sigmoid to leave 0.5, and just large enough."""
    case = _case(f'threshold_{n}', _grid(n), _grid(n, *[(20 + 20 * i, 20, 3, 3) for i in range(8)]), 'threshold')
    for i, value in enumerate((0.0, -0.0, 1e-8, -1e-8, 1e-6, -1e-6, 1e-3, -1e-3)):
        case.logit[20 + 20 * i : 23 + 20 * i, 20:23] = value
    case.logit[20:22, 80:82] = 0.0  # false alarms on the threshold
    case.logit[60:62, 80:82] = 1e-8
    return case


def _mask_values(n):
    """A mask file with gray values, half of each target predicted."""
    values = (1, 64, 126, 127, 128, 129, 200, 254, 255)
    predicted = _grid(n, *[(20 + 20 * i, 20, 4, 2) for i in range(len(values))])
    case = _case(f'mask_values_{n}', predicted, _grid(n), 'values')
    for i, value in enumerate(values):
        case.mask[20 + 20 * i : 24 + 20 * i, 20:24] = value
    case.mask[20:24, 100:104] = 255
    case.mask[19:25, 99:105][case.mask[19:25, 99:105] == 0] = 90  # a soft rim
    case.logit[19:25, 99:105] = HIGH
    return case


def _random(rng, name, shape):
    """Targets of several sizes; predictions that hit, miss, move, grow, shrink and are false."""
    height, width = shape
    target, predicted = np.zeros((2, *shape), bool)
    rows, cols = np.arange(height)[:, None], np.arange(width)
    for _ in range(rng.integers(0, 9)):
        row, col, radius = rng.random() * height, rng.random() * width, 0.6 + 5 * rng.random() ** 2
        target |= np.hypot(rows - row, cols - col) < radius
        for _ in range(rng.integers(0, 3)):
            shift, scale = 5 * (rng.random(2) - 0.5), 0.5 + rng.random()
            predicted |= np.hypot(rows - row - shift[0], cols - col - shift[1]) < radius * scale
    for _ in range(rng.integers(0, 7)):
        row, col, radius = rng.random() * height, rng.random() * width, 0.6 + 3 * rng.random()
        predicted |= np.hypot(rows - row, cols - col) < radius
    strength = 0.5 + 5 * rng.random(shape)
    logit = np.where(predicted, strength, -strength).astype(np.float32)
    return Case(name, 'plain', logit, target.astype(np.uint8) * np.uint8(255))


def _noise(rng, name, shape, density):
    predicted, target = rng.random(shape) < density, rng.random(shape) < density / 4
    strength = 0.5 + 5 * rng.random(shape)
    logit = np.where(predicted, strength, -strength).astype(np.float32)
    return Case(name, 'plain', logit, target.astype(np.uint8) * np.uint8(255))
