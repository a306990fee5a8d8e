import math
from itertools import permutations

import numpy as np
import pytest
from golden import cases as golden
from random_pairs import random_pair
from scipy.optimize import linear_sum_assignment

from mmirstd.evaluation.functional import matching
from mmirstd.evaluation.functional.matching import match_components
from mmirstd.ops.components import label_components

METHODS = ['greedy', 'nearest', 'hungarian', 'overlap']


def pairs(prediction, target, method, **kwargs):
    return match_components(label_components(target), label_components(prediction), method, **kwargs).detected.tolist()


def apart(targets, components):
    return np.array([[math.dist(a, b) for b in components.centroid] for a in targets.centroid])


def components(rng):
    prediction, target = random_pair(rng)
    return label_components(target), label_components(prediction)


@pytest.mark.parametrize('method', METHODS)
def test_what_is_left_over(method):
    rng = np.random.default_rng(0)
    for _ in range(300):
        targets, predictions = components(rng)
        found = match_components(targets, predictions, method, distance=rng.choice([1, 3, 7]))
        assert sorted({*found.missed.tolist(), *found.detected[:, 0].tolist()}) == list(range(len(targets)))
        assert sorted({*found.false.tolist(), *found.detected[:, 1].tolist()}) == list(range(len(predictions)))
        assert not {*found.missed.tolist()} & {*found.detected[:, 0].tolist()}
        assert not {*found.false.tolist()} & {*found.detected[:, 1].tolist()}
        assert found.detected.tolist() == sorted(found.detected.tolist())
        if method != 'overlap':
            assert len(found.detected) + len(found.missed) == len(targets)
            assert len(found.detected) + len(found.false) == len(predictions)
        assert (found.targets, found.predictions) == (targets, predictions)


def test_greedy_takes_the_first_free_component_in_label_order():
    rng = np.random.default_rng(1)
    for _ in range(100):
        targets, predictions = components(rng)
        expected, taken = [], set()
        for i, row in enumerate(apart(targets, predictions) if len(targets) and len(predictions) else []):
            free = [j for j in np.flatnonzero(row < 3).tolist() if j not in taken]
            if free:
                expected.append([i, free[0]])
                taken.add(free[0])
        assert match_components(targets, predictions).detected.tolist() == expected


def test_nearest_takes_the_closest_pair_again_and_again():
    rng = np.random.default_rng(2)
    for _ in range(300):
        targets, predictions = components(rng)
        distance = rng.choice([2.0, 3.0, 6.0, np.inf])
        expected = []
        if len(targets) and len(predictions):
            left = apart(targets, predictions)
            while left.min() < min(distance, 1e9):
                i, j = np.unravel_index(left.argmin(), left.shape)
                expected.append([int(i), int(j)])
                left[i], left[:, j] = np.inf, np.inf
        assert match_components(targets, predictions, 'nearest', distance=distance).detected.tolist() == sorted(
            expected
        )


def best_assignment(distances, limit):
    """Most pairs, then least total distance, by trying all."""
    n, m = distances.shape
    if n > m:
        return best_assignment(distances.T, limit)
    best = (0, 0.0)
    for order in permutations(range(m), n):
        near = [distances[i, j] for i, j in enumerate(order) if distances[i, j] < limit]
        best = max(best, (len(near), -sum(near)))
    return best


def test_hungarian_finds_most_pairs_and_of_these_the_closest():
    rng, tried = np.random.default_rng(3), 0
    while tried < 200:
        target, prediction = rng.random((2, 9, 9)) < 0.09
        targets, predictions = label_components(target), label_components(prediction)
        if not len(targets) or not len(predictions) or max(len(targets), len(predictions)) > 6:
            continue
        tried += 1
        found = match_components(targets, predictions, 'hungarian').detected
        distances = apart(targets, predictions)
        number, total = best_assignment(distances, 3)
        assert len(found) == number
        assert distances[found[:, 0], found[:, 1]].sum() == pytest.approx(-total)


def test_hungarian_on_noise_is_one_assignment():
    rng = np.random.default_rng(4)
    target, prediction = rng.random((2, 64, 64)) < 0.03
    targets, predictions = label_components(target), label_components(prediction)
    cost = np.minimum(apart(targets, predictions), 1e6)
    cost[cost >= 3] = 1e6
    i, j = linear_sum_assignment(cost)
    kept = cost[i, j] < 3
    found = match_components(targets, predictions, 'hungarian').detected
    assert len(found) == kept.sum() > 20
    assert cost[found[:, 0], found[:, 1]].sum() == pytest.approx(cost[i, j][kept].sum())


def test_overlap_is_any_shared_pixel():
    rng = np.random.default_rng(5)
    for _ in range(300):
        prediction, target = random_pair(rng)
        targets, predictions = label_components(target), label_components(prediction)
        labels = np.full((2, *target.shape), -1)
        for layer, found in zip(labels, (targets, predictions), strict=True):
            layer[found.rows, found.cols] = found.index
        expected = {(a, b) for a, b in labels.reshape(2, -1).T.tolist() if a >= 0 and b >= 0}
        assert set(map(tuple, match_components(targets, predictions, 'overlap').detected.tolist())) == expected


@pytest.mark.parametrize(
    ('case', 'detected'),
    [  # greedy, nearest, hungarian, overlap
        ('greedy_loses_one', (1, 2, 2, 0)),
        ('nearest_first_loses_one', (2, 1, 2, 0)),
        ('least_total_loses_one', (1, 1, 1, 0)),  # least total distance over all, near or not, would find none
        ('overlap_far_centroid', (0, 0, 0, 1)),
        ('overlap_of_one_pixel', (0, 0, 0, 1)),
        ('near_without_overlap', (1, 1, 1, 0)),
        ('half_overlap', (0, 0, 0, 1)),
        ('chain', (6, 6, 6, 0)),
    ],
)
def test_cases_on_which_the_methods_differ(case, detected):
    (found,) = (c for c in golden.cases() if c.name == f'{case}_256')
    targets, predictions = label_components(found.mask > 0), label_components(found.logit > 0)
    numbers = [len(targets) - len(match_components(targets, predictions, method).missed) for method in METHODS]
    assert numbers == list(detected)


@pytest.mark.parametrize('method', METHODS)
def test_nothing_to_match(method):
    nothing, something = np.zeros((4, 4), bool), np.eye(4) > 0
    for prediction, target in ((nothing, nothing), (nothing, something), (something, nothing)):
        assert pairs(prediction, target, method) == []
    assert pairs(something, something, method) == [[0, 0]]


@pytest.mark.parametrize('method', METHODS)
def test_many_components_are_matched_in_blocks(method, monkeypatch):
    rng = np.random.default_rng(6)
    prediction, target = rng.random((2, 48, 48)) < 0.05
    expected = pairs(prediction, target, method)
    monkeypatch.setattr(matching, 'PAIRS_AT_ONCE', 100)
    assert pairs(prediction, target, method) == expected
    assert expected


def test_bad_parameters_are_refused():
    something = label_components(np.eye(4) > 0)
    with pytest.raises(ValueError, match="no matching 'first'; there are greedy, nearest, hungarian, overlap"):
        match_components(something, something, 'first')
    for method in ('greedy', 'nearest', 'hungarian'):
        with pytest.raises(ValueError, match='distance must be positive, not 0'):
            match_components(something, something, method, distance=0)
