import math
from dataclasses import replace

import numpy as np
import pytest
from plain_evaluation import flood_fill, pd_fa, pixel_counts
from scipy import ndimage

from mmirstd.evaluation.functional import component_steps, matching
from mmirstd.evaluation.functional.counts import Counts, image_counts, sum_counts
from mmirstd.evaluation.functional.metrics import compute_metrics
from mmirstd.evaluation.functional.sweeps import (
    ComponentSweep,
    OperatingPoint,
    OracleThreshold,
    PixelSweep,
    component_sweep,
    pixel_sweep,
    sum_sweeps,
)
from mmirstd.evaluation.functional.thresholds import sweep_thresholds


def random_case(rng, largest=24):
    """Probabilities, labels, ignored pixels and thresholds, some of which are probabilities of the map."""
    shape = tuple(rng.integers(1, largest, 2))
    kind = rng.integers(6)
    p = rng.random(shape)
    if kind == 1:
        p = ndimage.gaussian_filter(p, 1)
        p = (p - p.min()) / max(np.ptp(p), 1e-9)
    elif kind == 2:
        p = np.round(p * 8) / 8
    elif kind == 3:
        p = p**8
    elif kind == 4:
        p = np.zeros(shape)
    elif kind == 5:
        p = 1 / (1 + np.exp(rng.normal(-5, 8, shape)))
    p = p.astype(rng.choice(['f2', 'f4', 'f8']))
    gt = (ndimage.gaussian_filter(rng.random(shape), 1) > rng.choice([0.5, 0.55, 0.65, 2])).astype(np.uint8)
    ignored = rng.random(shape) < rng.choice([0, 0.1])
    t = rng.choice([*p.ravel(), *rng.random(8), 0.0, 0.1, 0.3, 0.5], rng.integers(1, 25)).astype(float)
    return p, gt, ignored, np.unique(t[t < 1]) if (t < 1).any() else np.array([0.5])


def labeled(gt, ignored):
    mask = gt.copy()
    mask[ignored] = 255
    return mask


@pytest.mark.parametrize('seed', range(4))
def test_component_sweep_equals_image_counts_at_every_threshold(seed, monkeypatch):
    monkeypatch.setattr(component_steps, '_VOXELS_AT_ONCE', (2**18, 300, 1, 2000)[seed])
    monkeypatch.setattr(matching, 'PAIRS_AT_ONCE', (2**20, 7, 50, 1)[seed])
    rng = np.random.default_rng(seed)
    compared = 0
    for _ in range(100):
        p, gt, ignored, thresholds = random_case(rng)
        options = {'distance': float(rng.choice([0.5, 1, 2, 3, 5])), 'connectivity': int(rng.choice([4, 8]))}
        sweep = component_sweep(p, gt, thresholds, ignore=ignored, **options)
        pixels = pixel_sweep(p, gt, thresholds, ignore=ignored)
        for k, t in enumerate(thresholds.tolist()):
            expected = image_counts(p, labeled(gt, ignored), threshold=t, **options)
            assert sweep.counts[k] == expected
            assert (pixels.tp[k], pixels.fp[k], pixels.target_pixels - pixels.tp[k]) == (
                expected.tp,
                expected.fp,
                expected.fn,
            )
            compared += 1
        assert pixels.target_pixels + pixels.background_pixels == sweep.counts.pixels
    assert compared > 600


def test_component_sweep_equals_the_plain_evaluation():
    rng = np.random.default_rng(5)
    for _ in range(40):
        p, gt, ignored, thresholds = random_case(rng, 16)
        sweep = component_sweep(p, gt, thresholds, ignore=ignored)
        for k in range(len(thresholds)):
            pred, target = (p > p.dtype.type(thresholds[k])) & ~ignored, (gt == 1) & ~ignored
            assert (
                sweep.counts.targets,
                sweep.counts.detected[k],
                sweep.counts.components[k],
                sweep.counts.false_components[k],
                sweep.counts.false_pixels[k],
            ) == pd_fa(pred, target, label=flood_fill)[:5]
            assert (sweep.counts.tp[k], sweep.counts.fp[k], sweep.counts.fn[k]) == pixel_counts(pred, target)


def test_counts_are_plain_numbers():
    counts = component_sweep(np.eye(5), np.eye(5, dtype=bool), [0.2, 0.5]).counts[1]
    assert {type(getattr(counts, name)) for name in Counts.__slots__ if not name.startswith('auc')} == {int, float}


def test_matching_changes_with_the_threshold():
    """At 0.1 one component lies over both targets, at 0.6 they are apart, at 0.8 one of them is left."""
    gt = np.zeros((9, 20), bool)
    gt[3:6, 3:6] = gt[3:6, 13:16] = True
    p = np.zeros((9, 20))
    p[4, 3:16] = 0.4
    p[gt] = 0.7
    p[3:6, 3:6] = 0.9
    sweep = component_sweep(p, gt, [0.1, 0.6, 0.8, 0.95])
    assert sweep.counts.detected.tolist() == [0, 2, 1, 0]
    assert sweep.counts.components.tolist() == [1, 2, 1, 0]
    assert sweep.counts.false_pixels.tolist() == [25, 0, 0, 0]
    assert sweep.pd_fa().y.tolist() == [0, 0, 0.5, 1, 0]
    assert sweep.pd_at_fa(0) == OperatingPoint(0.6, 1.0, 0.0)


def test_sets_add_up_as_counts_do():
    rng = np.random.default_rng(1)
    thresholds = [0.1, 0.3, 0.5]
    images = [random_case(rng)[:3] for _ in range(30)]
    components = [component_sweep(p, gt, thresholds, ignore=i) for p, gt, i in images]
    pixels = [pixel_sweep(p, gt, thresholds, ignore=i) for p, gt, i in images]
    total, shuffled = sum_sweeps(components), sum_sweeps(components[i] for i in rng.permutation(30))
    for k, t in enumerate(thresholds):
        expected = sum_counts(image_counts(p, labeled(gt, i), threshold=t) for p, gt, i in images)
        assert total.counts[k] == replace(shuffled.counts[k], last_pixels=expected.last_pixels) == expected
        for empty in ('skip', 0, 1):
            metrics = {name: values[k] for name, values in total.metrics(empty=empty).items()}
            assert metrics == pytest.approx(compute_metrics(expected, niou_empty=empty), nan_ok=True, rel=1e-15)
    joined = sum_sweeps(pixels[:10]) + sum_sweeps(pixels[10:])
    np.testing.assert_array_equal(joined.tp, total.counts.tp)
    np.testing.assert_array_equal(joined.fp, total.counts.fp)
    assert joined.images == total.counts.images == 30
    halves = sum_sweeps(components[:10]) + sum_sweeps(components[10:])
    np.testing.assert_array_equal(halves.counts.detected, total.counts.detected)
    np.testing.assert_allclose(halves.counts.iou_sum, total.counts.iou_sum, rtol=1e-15)


def test_summing_refuses_what_does_not_belong_together():
    p = np.zeros((4, 4))
    one, other = pixel_sweep(p, p > 0, [0.5]), pixel_sweep(p, p > 0, [0.4])
    with pytest.raises(ValueError, match='different thresholds'):
        one + other
    with pytest.raises(TypeError, match='PixelSweep and ComponentSweep'):
        sum_sweeps([one, component_sweep(p, p > 0, [0.5])])
    with pytest.raises(ValueError, match='no sweep'):
        sum_sweeps([])


def plain_auc(scores, positive):
    """Probability that a positive scores higher than a negative, ties counted half."""
    pos, neg = scores[positive][:, None], scores[~positive][None]
    return ((pos > neg) + 0.5 * (pos == neg)).mean()


def plain_average_precision(scores, positive):
    """Sum over distinct scores, from the top, of the gain in recall times the precision."""
    total, recall = 0, 0
    for score in sorted(set(scores.tolist()), reverse=True):
        chosen = scores >= score
        gained = (chosen & positive).sum() / positive.sum()
        total += (gained - recall) * (chosen & positive).sum() / chosen.sum()
        recall = gained
    return total


def test_areas_are_those_of_the_bins_taken_as_scores():
    rng = np.random.default_rng(2)
    done = 0
    while done < 60:
        p, gt, ignored, thresholds = random_case(rng)
        positive = gt[~ignored] == 1
        if not positive.any() or positive.all():
            continue
        scores = (p[~ignored][:, None] > thresholds.astype(p.dtype)).sum(1)
        sweep = pixel_sweep(p, gt, thresholds, ignore=ignored)
        assert sweep.auc() == pytest.approx(plain_auc(scores, positive), rel=1e-12)
        assert sweep.average_precision == pytest.approx(plain_average_precision(scores, positive), rel=1e-12)
        done += 1


def test_a_threshold_at_every_value_gives_the_exact_areas():
    rng = np.random.default_rng(3)
    p = rng.random((20, 30)).astype(np.float32)
    gt = rng.random((20, 30)) < p / 3
    sweep = pixel_sweep(p, gt, np.unique(p)[:-1].astype(float))
    assert sweep.auc() == pytest.approx(plain_auc(p[~gt | gt], gt.ravel()), rel=1e-12)
    assert sweep.average_precision == pytest.approx(plain_average_precision(p.ravel(), gt.ravel()), rel=1e-12)


def test_areas_of_scikit_learn():
    """roc_auc_score (also with max_fpr, whose standardisation is undone) and average_precision_score of 1.9.1."""
    scores = np.array([[0.1, 0.4, 0.35, 0.8, 0.4], [0.2, 0.9, 0.4, 0.6, 0.05]])
    truth = np.array([[0, 0, 1, 1, 1], [0, 1, 0, 0, 0]], bool)
    sweep = pixel_sweep(scores, truth, [0.05, 0.1, 0.2, 0.35, 0.4, 0.6, 0.8])
    assert sweep.auc() == pytest.approx(SKLEARN['auc'], rel=1e-12)
    assert sweep.auc(0.3) == pytest.approx(SKLEARN['auc_0.3'], rel=1e-12)
    assert sweep.average_precision == pytest.approx(SKLEARN['ap'], rel=1e-12)


SKLEARN = {'auc': 0.7916666666666667, 'auc_0.3': 0.5222222222222223, 'ap': 0.7678571428571428}


def test_partial_area_of_known_curves():
    target = np.array([[1, 1, 0, 0, 0, 0]], bool)
    perfect = pixel_sweep(np.array([[0.9, 0.8, 0.1, 0.1, 0.2, 0.1]]), target, [0.5])
    chance = pixel_sweep(np.full((1, 6), 0.7), target, [0.5])
    for max_fpr in (0.01, 0.25, 0.9, 1):
        assert perfect.auc(max_fpr) == pytest.approx(1, abs=1e-15)
        assert chance.auc(max_fpr) == pytest.approx(max_fpr / 2)
    for wrong in (0, 1.1, math.nan):
        with pytest.raises(ValueError, match='max_fpr'):
            chance.auc(wrong)


def test_curves_have_their_ends():
    sweep = pixel_sweep(np.array([[0.9, 0.6, 0.2, 0.0]]), np.array([[1, 0, 1, 0]], bool), [0.1, 0.5])
    thresholds, fpr, tpr = sweep.roc()
    assert thresholds.tolist() == [1, 0.5, 0.1, -math.inf]
    assert fpr.tolist() == [0, 0.5, 0.5, 1]
    assert tpr.tolist() == [0, 0.5, 1, 1]
    _, recall, precision = sweep.pr()
    assert recall.tolist() == tpr.tolist()
    assert math.isnan(precision[0])
    assert precision[1:].tolist() == pytest.approx([1 / 2, 2 / 3, 1 / 2])
    metrics = sweep.metrics()
    assert metrics['IoU'].tolist() == pytest.approx([2 / 3, 1 / 3])
    assert metrics['F1'].tolist() == pytest.approx([4 / 5, 2 / 4])
    assert metrics['FPR'].tolist() == [0.5, 0.5]


def test_without_target_or_background_areas_are_nan():
    p = np.random.default_rng(0).random((5, 5))
    nothing, everything = (pixel_sweep(p, np.full((5, 5), value), [0.2, 0.5]) for value in (False, True))
    assert math.isnan(nothing.auc())
    assert math.isnan(everything.auc())
    assert math.isnan(nothing.average_precision)
    assert everything.average_precision == 1
    components = component_sweep(p, np.zeros((5, 5), bool), [0.2, 0.5])
    assert math.isnan(components.pd_fa_area(10))
    assert math.isnan(components.pd_at_fa(0).pd)
    assert np.isnan(components.pd_fa().y).all()
    assert components.pd_at_fa(0).fa == 0
    silent = component_sweep(p * 0, np.zeros((5, 5), bool), [0.2, 0.5])
    assert all(math.isnan(value) for value in silent.oracle_threshold('nIoU'))
    assert silent.oracle_threshold('nIoU', empty=1) == OracleThreshold(0.5, 1.0)


def sweep_of(thresholds, detected, false_pixels, targets=4, pixels=10**6):
    """A component sweep with given detections and false pixels."""
    zeros = np.zeros(len(thresholds), np.int64)
    counts = Counts(
        **dict.fromkeys(('inter', 'union', 'tp', 'fp', 'fn', 'components', 'empty_images', 'iou_sum'), zeros),
        detected=np.array(detected),
        false_pixels=np.array(false_pixels),
        pixels=pixels,
        fa_pixels=pixels,
        targets=targets,
        images=1,
        target_images=1,
    )
    return ComponentSweep(np.array(thresholds), counts)


def test_pd_fa_area_and_pd_at_fa_of_a_known_curve():
    sweep = sweep_of([0.2, 0.4, 0.6, 0.8], detected=[4, 2, 3, 1], false_pixels=[50, 30, 10, 2])
    # Steps: Pd 0 up to Fa 2, 1/4 up to 10, 3/4 up to 50 (the dip at 30 is no step), 1 from there.
    assert sweep.pd_fa_area(100) == pytest.approx((8 * 0.25 + 40 * 0.75 + 50 * 1) / 100)
    assert sweep.pd_fa_area(20) == pytest.approx((8 * 0.25 + 10 * 0.75) / 20)
    assert sweep.pd_fa_area(1) == 0
    assert sweep.pd_at_fa(0) == OperatingPoint(1.0, 0.0, 0.0)
    assert sweep.pd_at_fa(2) == OperatingPoint(0.8, 0.25, 2.0)
    assert sweep.pd_at_fa(49.9) == OperatingPoint(0.6, 0.75, 10.0)
    assert sweep.pd_at_fa(math.inf) == OperatingPoint(0.2, 1.0, 50.0)
    ties = sweep_of([0.1, 0.3, 0.6, 0.8], detected=[2, 2, 2, 2], false_pixels=[3, 9, 3, 3])
    assert ties.pd_at_fa(9) == OperatingPoint(0.6, 0.5, 3.0)
    assert sweep_of([0.4, 0.9], detected=[2, 2], false_pixels=[9, 3]).pd_at_fa(9) == OperatingPoint(0.9, 0.5, 3.0)
    grid = np.linspace(0, 100, 100_001)[:-1] + 0.0005
    mean = np.mean([sweep.pd_at_fa(x).pd for x in grid[::50]])
    assert sweep.pd_fa_area(100) == pytest.approx(mean, abs=1e-3)
    for wrong in (0, -1, math.inf, math.nan):
        with pytest.raises(ValueError, match='max_fa'):
            sweep.pd_fa_area(wrong)
    with pytest.raises(ValueError, match='max_fa'):
        sweep.pd_at_fa(-1)


def test_oracle_threshold_prefers_the_threshold_nearest_to_one_half():
    gt = np.zeros((8, 8), bool)
    gt[2:4, 2:4] = True
    p = np.where(gt, 0.95, 0.02)
    p[6, 6] = 0.3
    sweep = pixel_sweep(p, gt, [0.1, 0.35, 0.6, 0.9, 0.97])
    assert sweep.oracle_threshold() == OracleThreshold(0.6, 1.0)
    assert sweep.oracle_threshold('recall').threshold == 0.6
    components = component_sweep(p, gt, [0.1, 0.35, 0.6, 0.9, 0.97])
    assert components.oracle_threshold('nIoU') == OracleThreshold(0.6, 1.0)
    for wrong in ('Fa', 'FPR', 'x'):
        with pytest.raises(ValueError, match='metric must be one of'):
            sweep.oracle_threshold(wrong)
        with pytest.raises(ValueError, match='metric must be one of'):
            components.oracle_threshold(wrong)


def test_thresholds():
    uniform = sweep_thresholds(9)
    np.testing.assert_allclose(uniform, np.arange(1, 10) / 10, rtol=1e-15)
    logit = sweep_thresholds(201, 'logit', limit=9)
    assert logit[100] == uniform[4] == 0.5
    np.testing.assert_allclose(logit + logit[::-1], 1, rtol=1e-15)
    np.testing.assert_allclose(np.diff(np.log(logit / (1 - logit))), 18 / 200, rtol=1e-9)
    assert sweep_thresholds(1, 'logit').tolist() == sweep_thresholds(1).tolist() == [0.5]
    assert len(sweep_thresholds(4, 'logit')) == 4
    with pytest.raises(ValueError, match='number'):
        sweep_thresholds(0)
    with pytest.raises(ValueError, match='spacing'):
        sweep_thresholds(3, 'cubic')
    with pytest.raises(ValueError, match='limit'):
        sweep_thresholds(3, 'logit', limit=50)


def test_thresholds_are_rounded_to_the_type_of_the_prediction():
    for kind in (np.float16, np.float32, np.float64):
        p = np.full((2, 2), 0.1, kind)
        up = np.nextafter(p, kind(1))
        for prediction, expected in ((p, 0), (up, 4)):
            assert pixel_sweep(prediction, p > 0, [0.1]).tp[0] == expected
            assert component_sweep(prediction, p > 0, [0.1]).counts.tp[0] == expected


def test_every_float_falls_into_the_right_bin():
    """Also subnormal numbers, -0, 0 and 1, and more thresholds than a type can tell apart."""
    rng = np.random.default_rng(4)
    for kind, bits in ((np.float16, np.uint16), (np.float32, np.uint32), (np.float64, np.uint64)):
        one = int(np.ones(1, kind).view(bits)[0])
        p = rng.integers(0, one, 5000, dtype=bits, endpoint=True).view(kind)
        special = np.array([0.0, -0.0, 1.0, np.finfo(kind).smallest_subnormal, 0.5], kind)
        p = np.concatenate([p, special, rng.random(995).astype(kind)]).reshape(60, 100)
        for thresholds in (np.unique(rng.random(3000)), np.unique(p[:30].astype(float))[1:-1], [0.0], [0.0, 1e-300]):
            thresholds = np.asarray(thresholds)
            sweep = pixel_sweep(p, np.ones(p.shape, bool), thresholds)
            above = [np.count_nonzero(p > kind(t)) for t in thresholds.tolist()]
            np.testing.assert_array_equal(sweep.tp, above)


def test_all_kinds_of_prediction_and_mask_are_read_alike():
    rng = np.random.default_rng(6)
    predicted, target = rng.random((2, 12, 12)) < 0.3
    thresholds = [0.0, 0.5]
    expected = component_sweep(predicted.astype(float), target, thresholds).counts[1]
    for prediction in (predicted, predicted.astype(np.uint8), predicted.astype(int), predicted * np.uint8(255)):
        for mask in (target, target.astype(np.uint8), target.astype(int), target * np.uint8(255)):
            assert component_sweep(prediction, mask, thresholds).counts[1] == expected
    gray = np.where(target, 128, 127).astype(np.uint8)
    assert component_sweep(predicted, gray, thresholds).counts[1] == expected
    levels = np.array([[127, 128]], np.uint8)
    assert pixel_sweep(levels, np.ones((1, 2), bool), [0.5]).tp.tolist() == [1]


@pytest.mark.parametrize(
    ('prediction', 'mask', 'ignore', 'message'),
    [
        (np.zeros((3, 4)), np.zeros((4, 3), bool), None, r'alike, got \(3, 4\) and \(4, 3\)'),
        (np.zeros((1, 3, 4)), np.zeros((1, 3, 4), bool), None, r'must be \(H, W\)'),
        (np.zeros((0, 3)), np.zeros((0, 3), bool), None, 'alike'),
        (np.full((2, 2), 1.5), np.zeros((2, 2), bool), None, 'are these logits'),
        (np.full((2, 2), -0.1), np.zeros((2, 2), bool), None, 'are these logits'),
        (np.full((2, 2), np.nan), np.zeros((2, 2), bool), None, 'finite'),
        (np.full((2, 2), 2), np.zeros((2, 2), bool), None, 'hold 0 and 1 or be uint8'),
        (np.zeros((2, 2), complex), np.zeros((2, 2), bool), None, 'float16, float32 or float64'),
        (np.zeros((2, 2)), np.zeros((2, 2)), None, 'boolean or integer, not float64'),
        (np.zeros((2, 2)), np.full((2, 2), 256), None, '0 to 255'),
        (np.zeros((2, 2)), np.full((2, 2), -1), None, '0 to 255'),
        (np.zeros((2, 2)), np.zeros((2, 2), bool), np.zeros((2, 2), int), 'ignored pixels must be bool'),
        (np.zeros((2, 2)), np.zeros((2, 2), bool), np.zeros((2, 3), bool), 'ignored pixels must be bool'),
    ],
)
def test_wrong_input_is_refused(prediction, mask, ignore, message):
    for sweep in (pixel_sweep, component_sweep):
        with pytest.raises(ValueError, match=message):
            sweep(prediction, mask, [0.5], ignore=ignore)


@pytest.mark.parametrize('thresholds', [[], [0.5, 0.5], [0.6, 0.5], [1.0], [-0.1], [math.nan], [[0.5]], 0.5])
def test_wrong_thresholds_are_refused(thresholds):
    with pytest.raises(ValueError, match='thresholds must'):
        pixel_sweep(np.zeros((2, 2)), np.zeros((2, 2), bool), thresholds)


def test_wrong_options_are_refused():
    p, gt = np.zeros((2, 2)), np.zeros((2, 2), bool)
    with pytest.raises(ValueError, match='distance'):
        component_sweep(p, gt, [0.5], distance=0)
    with pytest.raises(ValueError, match='connectivity'):
        component_sweep(p, gt, [0.5], connectivity=6)
    with pytest.raises(ValueError, match='empty'):
        component_sweep(p, gt, [0.5]).metrics(empty=2)


def test_metrics_of_arrays_are_those_of_each_set():
    rng = np.random.default_rng(7)
    sets = [image_counts(rng.random((9, 9)) < 0.1, rng.random((9, 9)) < rng.choice([0, 0.1])) for _ in range(20)]
    columns = {name: np.array([getattr(c, name) for c in sets]) for name in Counts.__slots__}
    arrays = Counts(**columns)
    for empty in ('skip', 0, 1):
        metrics = compute_metrics(arrays, niou_empty=empty)
        for i, counts in enumerate(sets):
            assert {name: v[i] for name, v in metrics.items()} == pytest.approx(
                compute_metrics(counts, niou_empty=empty), nan_ok=True, rel=1e-15
            )


def test_a_pixel_sweep_holds_histograms():
    sweep = pixel_sweep(np.array([[0.0, 0.2, 0.5, 1.0]]), np.array([[0, 1, 0, 1]], bool), [0.2, 0.5])
    assert isinstance(sweep, PixelSweep)
    assert sweep.target_bins.tolist() == [1, 0, 1]
    assert sweep.background_bins.tolist() == [1, 1, 0]
