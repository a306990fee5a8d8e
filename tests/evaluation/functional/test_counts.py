import math
import subprocess
import sys
from dataclasses import replace

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from plain_evaluation import PlainStack, flood_fill, pd_fa, pixel_counts
from random_pairs import random_mask, random_pair

from mmirstd.evaluation.functional import matching
from mmirstd.evaluation.functional.counts import Counts, image_counts, sum_counts
from mmirstd.evaluation.functional.evaluated_image import match_targets
from mmirstd.evaluation.functional.matching import match_components
from mmirstd.evaluation.functional.metrics import compute_metrics
from mmirstd.ops.components import label_components


def check_pair(pred, gt, ignored, distance, connectivity):
    mask = gt.astype(np.uint8)
    mask[ignored] = 255
    pred_valid, gt_valid = pred & ~ignored, gt & ~ignored
    expected = pd_fa(pred_valid, gt_valid, distance, connectivity, flood_fill)
    counts = image_counts(pred, mask, distance=distance, connectivity=connectivity)
    assert (
        counts.targets,
        counts.detected,
        counts.components,
        counts.false_components,
        counts.false_pixels,
    ) == expected[:5]
    tp, fp, fn = pixel_counts(pred_valid, gt_valid)
    assert (counts.tp, counts.fp, counts.fn) == (tp, fp, fn)
    assert counts.pixels == (~ignored).sum()
    assert counts.images == 1
    assert counts.target_images == gt_valid.any()
    assert counts.empty_images == (tp + fp + fn == 0)
    assert counts.iou_sum == (tp / (tp + fp + fn) if tp + fp + fn else 0)
    matches = match_targets(pred, mask, distance=distance, connectivity=connectivity)
    assert list(map(tuple, matches.detected.tolist())) == expected[5]
    assert sorted([*matches.missed, *matches.detected[:, 0]]) == list(range(counts.targets))
    assert sorted([*matches.false, *matches.detected[:, 1]]) == list(range(counts.components))


def test_thousands_of_random_pairs_agree_with_brute_force():
    rng = np.random.default_rng(0)
    for _ in range(3000):
        pred, gt = random_pair(rng)
        ignored = rng.random(gt.shape) < rng.choice([0, 0, 0.1])
        check_pair(pred, gt, ignored, float(rng.choice([1, 3, 3, 5.5])), int(rng.choice([4, 8])))


@settings(max_examples=300, deadline=None)
@given(
    data=st.data(),
    shape=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    distance=st.sampled_from([0.5, 1.5, 3.0, math.inf]),
    connectivity=st.sampled_from([4, 8]),
)
def test_any_small_pair_agrees_with_brute_force(data, shape, distance, connectivity):
    pred, gt, ignored = (data.draw(hnp.arrays(bool, shape)) for _ in range(3))
    check_pair(pred, gt, ignored, distance, connectivity)


@pytest.mark.parametrize('connectivity', [4, 8])
def test_labels_are_in_raster_order_whatever_the_gaps(connectivity):
    rng = np.random.default_rng(1)
    for _ in range(300):
        mask = random_mask(rng, tuple(rng.integers(1, 40, 2)))
        labels, number = flood_fill(mask, connectivity)
        components = label_components(mask, connectivity)
        dense = np.zeros(mask.shape, int)
        dense[components.rows, components.cols] = components.index + 1
        np.testing.assert_array_equal(dense, labels)
        assert len(components) == number
        for k, (top, left, bottom, right) in enumerate(components.boxes):
            rows, cols = np.nonzero(labels == k + 1)
            assert (top, left, bottom, right) == (rows.min(), cols.min(), rows.max() + 1, cols.max() + 1)
            assert components.area[k] == len(rows)
            np.testing.assert_allclose(components.centroid[k], (rows.mean(), cols.mean()), rtol=1e-14)


def test_components_agree_with_opencv():
    rng = np.random.default_rng(2)
    for connectivity in (4, 8):
        mask = rng.random((61, 83)) < 0.3
        number, _, stats, centroids = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=connectivity)
        components = label_components(mask, connectivity)
        assert len(components) == number - 1
        ours = sorted(zip(components.area, components.centroid[:, 1], components.centroid[:, 0], strict=True))
        theirs = sorted(zip(stats[1:, cv2.CC_STAT_AREA], *centroids[1:].T, strict=True))
        np.testing.assert_allclose(ours, theirs, rtol=1e-12)


def squares(shape, *places, size=3):
    mask = np.zeros(shape, np.uint8)
    for row, col in places:
        mask[row : row + size, col : col + size] = 1
    return mask


def test_false_alarm_with_the_area_of_a_match_counts():
    gt = squares((32, 32), (5, 5))
    pred = squares((32, 32), (5, 5), (20, 20))
    counts = image_counts(pred, gt)
    assert (counts.detected, counts.false_components, counts.false_pixels) == (1, 1, 9)


def test_two_predictions_for_one_target_leave_one_false():
    gt = squares((32, 32), (5, 5), size=5)
    pred = squares((32, 32), (5, 5), (8, 9), size=2)
    counts = image_counts(pred, gt)
    assert (counts.targets, counts.detected, counts.false_components, counts.false_pixels) == (1, 1, 1, 4)


def test_one_prediction_over_two_targets_detects_one():
    gt = squares((32, 32), (5, 5), (5, 9))
    pred = np.zeros_like(gt)
    pred[5:8, 5:12] = 1
    matches = match_targets(pred, gt)
    assert matches.detected.tolist() == [[0, 0]]
    assert matches.missed.tolist() == [1]


def test_first_in_label_order_wins_even_where_another_is_nearer():
    gt = squares((32, 32), (10, 10), size=1)
    pred = squares((32, 32), (8, 10), (11, 12), size=1)
    pred[10, 9] = 1
    assert match_targets(pred, gt).detected.tolist() == [[0, 0]]


def test_distance_is_strict_and_a_parameter():
    gt, pred = squares((32, 32), (5, 5)), squares((32, 32), (5, 8))
    assert image_counts(pred, gt).detected == 0
    assert image_counts(pred, gt, distance=3.01).detected == 1


def test_connectivity_is_a_parameter():
    gt = squares((8, 8), (1, 1), (2, 2), size=1)
    assert image_counts(gt, gt, connectivity=8).targets == 1
    assert image_counts(gt, gt, connectivity=4).targets == 2


def test_ignored_pixels_count_nowhere():
    gt = np.full((16, 16), 255, np.uint8)
    assert image_counts(np.ones((16, 16), bool), gt) == Counts(images=1, empty_images=1, fa_images=1)
    gt[:, 8:] = 0
    gt[4:6, 10:12] = 1
    pred = squares((16, 16), (4, 10), (4, 2), size=2)
    counts = image_counts(pred, gt)
    assert (counts.tp, counts.fp, counts.components, counts.pixels) == (4, 0, 1, 128)
    assert image_counts(pred, gt.astype(np.int64)) == counts
    assert image_counts(pred, np.where(gt == 255, -1, gt.astype(np.int16)), ignore_index=-1) == counts


@pytest.mark.parametrize('dtype', [np.float16, np.float32, np.float64])
def test_probabilities_above_the_threshold_are_positive(dtype):
    prob = np.array([[0, 0.25, 0.5, 1]], dtype)
    gt = np.array([[0, 0, 1, 1]])
    assert image_counts(prob, gt).tp == 1
    assert image_counts(prob, gt, threshold=0.25).tp == 2
    assert image_counts(prob, gt, threshold=0.25) == image_counts(prob > 0.25, gt)


def test_zero_may_have_a_sign():
    prob = np.array([[-0.0, 1.0, 0.75]], np.float32)
    assert image_counts(prob, np.ones((1, 3), bool)).tp == 2


@pytest.mark.parametrize('dtype', [bool, np.uint8, np.int64, np.float32])
def test_masks_of_any_type_give_the_same(dtype):
    rng = np.random.default_rng(3)
    pred, gt = rng.random((2, 20, 30)) < 0.2
    assert image_counts(pred.astype(dtype), gt.astype(np.int64)) == image_counts(pred, gt)
    assert image_counts(pred.astype(dtype)[:, ::-2], gt[:, ::-2].astype(np.uint8)) == image_counts(
        pred[:, ::-2], gt[:, ::-2]
    )


@pytest.mark.parametrize(
    ('pred', 'gt', 'message'),
    [
        (np.array([[np.nan, np.inf]]), np.zeros((1, 2), int), '2 values that are not finite'),
        (np.array([[-np.inf, 0.5]]), np.zeros((1, 2), int), '1 values that are not finite'),
        (np.array([[-3.0, 0.5]]), np.zeros((1, 2), int), r'\[-3\.0, 0\.5\]; are these logits'),
        *(
            (np.array([[0.5, bad]], np.float32), np.zeros((1, 2), int), message)
            for bad, message in [
                (np.nan, '1 values that are not finite'),
                (-np.nan, '1 values that are not finite'),
                (np.inf, '1 values that are not finite'),
                (-1e-30, r'got \[-1e-30, 0\.5\]'),
                (1 + 2**-23, r'got \[0\.5, 1\.0000001\]'),
            ]
        ),
        (np.array([[0, 255]]), np.zeros((1, 2), int), 'must hold 0 and 1 or be uint8, got int64 up to 255'),
        (np.zeros((1, 2), bool), np.array([[0, 64]]), '0, 1 and 255 .* got 64'),
        (np.zeros((1, 2), bool), np.array([[0, -1]]), '0, 1 and 255 .* got -1'),
        (np.zeros((1, 2), bool), np.array([[0, 1.0]]), 'mask must be boolean or integer, not float64'),
        (np.zeros((1, 8), bool), np.arange(8)[None], r'got 2, 3, 4, 5, 6, \.\.\.'),
        (np.zeros((2, 2), bool), np.zeros((1, 2), int), r'alike, got \(2, 2\) and \(1, 2\)'),
        (np.zeros((1, 2, 2), bool), np.zeros((1, 2, 2), int), r'must be \(H, W\)'),
        (np.zeros((0, 2), bool), np.zeros((0, 2), int), r'must be \(H, W\)'),
    ],
)
def test_bad_arrays_are_refused(pred, gt, message):
    with pytest.raises(ValueError, match=message):
        image_counts(pred, gt)


def test_bad_parameters_are_refused():
    mask = np.ones((2, 2), bool)
    with pytest.raises(ValueError, match='connectivity must be 4, 8, not 6'):
        image_counts(mask, mask, connectivity=6)
    with pytest.raises(ValueError, match='distance must be a positive number, not -1'):
        image_counts(mask, mask, distance=-1)
    with pytest.raises(ValueError, match="niou_empty must be 'skip', 0, 1, not 'one'"):
        compute_metrics(Counts(), niou_empty='one')


@pytest.mark.parametrize('empty', ['skip', 0, 1])
def test_metrics_of_a_set_agree_with_the_plain_stack(empty):
    rng = np.random.default_rng(4)
    plain, counts = PlainStack(label=flood_fill), []
    for _ in range(200):
        pred, gt = random_pair(rng)
        mask = gt.astype(np.uint8)
        mask[rng.random(gt.shape) < 0.02] = 255
        prob = np.where(pred, 0.51, 0.49)
        plain.update(prob, mask)
        counts.append(image_counts(prob, mask))
    metrics = compute_metrics(sum_counts(counts), niou_empty=empty)
    assert list(metrics) == ['IoU', 'nIoU', 'Pd', 'Fa', 'precision', 'recall', 'F1']
    assert metrics == pytest.approx(plain.get(empty), rel=1e-12)


def test_sum_does_not_depend_on_order_or_grouping():
    rng = np.random.default_rng(5)
    counts = [image_counts(*random_pair(rng)) for _ in range(100)]
    total = sum_counts(counts)
    assert replace(sum_counts(counts[::-1]), last_pixels=total.last_pixels) == total
    halves = sum_counts(counts[:40]) + sum_counts(counts[40:])
    assert compute_metrics(halves) == pytest.approx(compute_metrics(total), rel=1e-14)
    assert sum_counts([]) == Counts()


def test_policy_for_empty_images():
    nothing, something = np.zeros((8, 8), np.uint8), squares((8, 8), (2, 2))
    empty = image_counts(nothing, nothing)
    hit = image_counts(something, something)
    alarm = image_counts(something, nothing)
    assert [compute_metrics(empty + hit, niou_empty=policy)['nIoU'] for policy in ('skip', 0, 1)] == [1, 0.5, 1]
    assert [compute_metrics(alarm + hit, niou_empty=policy)['nIoU'] for policy in ('skip', 0, 1)] == [0.5, 0.5, 0.5]
    assert (empty + hit + alarm).target_images == 1


def test_undefined_metrics_are_nan():
    nothing, something = np.zeros((8, 8), np.uint8), squares((8, 8), (2, 2))
    none_predicted = compute_metrics(image_counts(nothing, something))
    assert math.isnan(none_predicted.pop('precision'))
    assert none_predicted == dict.fromkeys(['IoU', 'nIoU', 'Pd', 'Fa', 'recall', 'F1'], 0)
    no_target = compute_metrics(image_counts(nothing, nothing))
    assert no_target.pop('Fa') == 0
    assert all(map(math.isnan, no_target.values()))


def test_noise_against_noise_is_matched_in_blocks(monkeypatch):
    rng = np.random.default_rng(6)
    pred, gt = rng.random((2, 48, 48)) < 0.15
    expected = image_counts(pred, gt)
    monkeypatch.setattr(matching, 'PAIRS_AT_ONCE', 100)
    assert image_counts(pred, gt) == expected
    assert expected.targets * expected.components > 100


def test_everything_positive_and_checkerboard():
    full = np.ones((64, 64), bool)
    gt = squares((64, 64), (31, 31), size=2)
    counts = image_counts(full, gt)
    assert (counts.detected, counts.false_components, counts.fp) == (1, 0, 64 * 64 - 4)
    board = np.indices((32, 32)).sum(0) % 2 == 0
    assert image_counts(board, board, connectivity=4).detected == 512
    assert image_counts(board, board).targets == 1


def test_match_components_reuses_labels():
    pred, gt = squares((16, 16), (2, 2), (9, 9)), squares((16, 16), (2, 3))
    matches = match_components(label_components(gt), label_components(pred), distance=0.5)
    assert matches.missed.tolist() == [0]
    assert matches.false.tolist() == [0, 1]


def test_functions_need_no_framework():
    code = (
        'import sys; sys.modules.update(dict.fromkeys(["torch", "mmengine", "mmcv", "mmseg"]))\n'
        'import numpy as np\n'
        'from mmirstd.evaluation import protocol_counts\n'
        'print(sum(c.detected for c in protocol_counts(np.eye(9) > 0, np.eye(9) > 0, "all")))'
    )
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == '9', done.stderr
