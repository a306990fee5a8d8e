import dataclasses
import math
import time

import numpy as np
import pytest

from mmirstd.evaluation.functional.counts import Counts, image_counts, protocol_counts, sum_counts
from mmirstd.evaluation.functional.intervals import (
    Interval,
    bootstrap_differences,
    bootstrap_intervals,
    resampled_metrics,
)
from mmirstd.evaluation.functional.metrics import compute_metrics
from mmirstd.evaluation.functional.protocols import get_protocol, get_protocols


def draws(images, resamples, seed):
    """The images of each resample: the generator's numbers in order, whatever is drawn at once."""
    return np.random.default_rng(seed).integers(images, size=(resamples, images))


def random_counts(rng, images):
    counts = []
    for _ in range(images):
        shape = rng.integers(2, 20, 2)
        counts.append(image_counts(rng.random(shape) < 0.1, rng.random(shape) < rng.choice([0, 0.02, 0.1])))
    return counts


@pytest.mark.parametrize('empty', ['skip', 0, 1])
def test_metrics_are_those_of_a_plain_loop(empty):
    counts = random_counts(np.random.default_rng(0), 17)
    metrics = resampled_metrics(counts, get_protocol('exact', niou_empty=empty), resamples=50, seed=3)
    expected = [
        compute_metrics(sum_counts(counts[i] for i in chosen), niou_empty=empty) for chosen in draws(17, 50, 3).tolist()
    ]
    assert list(metrics) == list(expected[0])
    for name, values in metrics.items():
        assert values.shape == (50,)
        np.testing.assert_allclose(values, [e[name] for e in expected], rtol=1e-12)


def test_metrics_of_every_protocol_are_those_of_a_plain_loop():
    rng = np.random.default_rng(1)
    native = dict(preset='simir', name='simir_native', size=None)  # Fa by the pixels of the last image
    protocols = [*get_protocols('all'), *get_protocols([native])]
    images = []
    for i in range(9):
        shape = (24, 32) if i % 2 else (32, 20)
        mask = (rng.random(shape) < rng.choice([0, 0.02])) * rng.choice([255, 200, 100], shape)
        images.append(protocol_counts(rng.random(shape) ** 8, mask.astype(np.uint8), protocols))
    chosen = draws(9, 12, 5).tolist()
    for protocol, counts in zip(protocols, zip(*images, strict=True), strict=True):
        metrics = resampled_metrics(counts, protocol, resamples=12, seed=5)
        for r, indices in enumerate(chosen):
            total = sum_counts(counts[i] for i in indices)
            total = dataclasses.replace(total, last_pixels=counts[-1].last_pixels)
            expected = compute_metrics(total, protocol)
            assert {name: v[r] for name, v in metrics.items()} == pytest.approx(expected, rel=1e-12, nan_ok=True)


def test_draws_at_once_do_not_change_the_metrics(monkeypatch):
    counts = random_counts(np.random.default_rng(2), 10)
    whole = resampled_metrics(counts, resamples=31)
    monkeypatch.setattr('mmirstd.evaluation.functional.intervals._DRAWS_AT_ONCE', 40)
    parts = resampled_metrics(counts, resamples=31)
    for name in whole:
        np.testing.assert_array_equal(whole[name], parts[name])


def test_intervals_are_quantiles_and_seeded():
    counts = random_counts(np.random.default_rng(3), 25)
    metrics = resampled_metrics(counts, resamples=400, seed=1)
    intervals = bootstrap_intervals(counts, level=0.9, resamples=400, seed=1)
    assert intervals == bootstrap_intervals(counts, level=0.9, resamples=400, seed=1)
    assert intervals != bootstrap_intervals(counts, level=0.9, resamples=400, seed=2)
    for name, interval in intervals.items():
        assert isinstance(interval, Interval)
        assert interval == pytest.approx(np.nanpercentile(metrics[name], [5, 95]))
        assert interval.low <= compute_metrics(sum_counts(counts))[name] <= interval.high


def test_undefined_resamples_are_left_out():
    hit = Counts(
        tp=4,
        inter=4,
        union=4,
        pixels=100,
        fa_pixels=100,
        targets=1,
        detected=1,
        components=1,
        images=1,
        target_images=1,
        iou_sum=1.0,
    )
    nothing = Counts(pixels=100, fa_pixels=100, images=1, empty_images=1)
    metrics = resampled_metrics([hit, nothing], resamples=200)
    assert 20 < np.isnan(metrics['Pd']).sum() < 80  # a quarter of the resamples has no target
    assert bootstrap_intervals([hit, nothing], resamples=200)['Pd'] == (1, 1)
    assert all(math.isnan(x) for x in bootstrap_intervals([nothing], resamples=5)['Pd'])
    assert bootstrap_intervals([nothing], resamples=5)['Fa'] == (0, 0)


def simulated(rng, images):
    """Images whose targets, detections, hits and false alarms vary, and vary together."""
    hardness = rng.beta(2, 5, images)
    targets = 1 + rng.poisson(1, images)
    area = targets * rng.integers(10, 60, images)
    tp = rng.binomial(area, 0.95 - 0.6 * hardness)
    false = rng.poisson(30 * hardness) * rng.binomial(1, 0.4, images)
    detected = rng.binomial(targets, 1 - 0.5 * hardness)
    fp = false + rng.binomial(area, 0.1)
    return [
        Counts(
            tp=int(tp[i]),
            fp=int(fp[i]),
            fn=int(area[i] - tp[i]),
            inter=int(tp[i]),
            union=int(area[i] + fp[i]),
            pixels=65536,
            fa_pixels=65536,
            targets=int(targets[i]),
            detected=int(detected[i]),
            false_pixels=int(false[i]),
            images=1,
            target_images=1,
            iou_sum=float(tp[i] / (area[i] + fp[i])),
        )
        for i in range(images)
    ]


def test_coverage():
    """Of many simulated sets about 90 % of the 90 % intervals hold the metric of the population."""
    rng = np.random.default_rng(4)
    truth = compute_metrics(sum_counts(simulated(rng, 100_000)))
    sets, held = 250, dict.fromkeys(truth, 0)
    for seed in range(sets):
        intervals = bootstrap_intervals(simulated(rng, 80), level=0.9, resamples=400, seed=seed)
        for name, (low, high) in intervals.items():
            held[name] += low <= truth[name] <= high
    for name, number in held.items():
        assert 0.83 <= number / sets <= 0.95, name


def test_width_is_that_of_the_standard_error():
    """nIoU of images without empty ones is a mean: its interval is about 1.96 standard errors to either side."""
    counts = simulated(np.random.default_rng(5), 300)
    ious = np.array([c.iou_sum for c in counts])
    error = ious.std() / math.sqrt(300)
    low, high = bootstrap_intervals(counts)['nIoU']
    assert low == pytest.approx(ious.mean() - 1.96 * error, abs=0.1 * error)
    assert high == pytest.approx(ious.mean() + 1.96 * error, abs=0.1 * error)


def test_differences_are_paired():
    counts = simulated(np.random.default_rng(6), 100)
    worse = [dataclasses.replace(c, tp=c.tp - 1, fn=c.fn + 1) if c.tp else c for c in counts]
    assert all(x == (0, 0) for x in bootstrap_differences(counts, counts, resamples=50).values())
    difference = bootstrap_differences(counts, worse, resamples=500)['recall']
    assert 0 < difference.low < difference.high
    one, other = (bootstrap_intervals(c, resamples=500)['recall'] for c in (counts, worse))
    assert other.high > one.low  # each alone does not tell them apart
    with pytest.raises(ValueError, match='same images, got 100 and 99'):
        bootstrap_differences(counts, worse[1:])


def test_wrong_input_is_refused():
    one = Counts(pixels=4, images=1)
    with pytest.raises(ValueError, match='no image'):
        resampled_metrics([])
    with pytest.raises(ValueError, match='single images'):
        resampled_metrics([one + one])
    with pytest.raises(ValueError, match='resamples'):
        resampled_metrics([one], resamples=0)
    with pytest.raises(ValueError, match='level'):
        bootstrap_intervals([one], level=1, resamples=2)
    with pytest.raises(ValueError, match='no preset'):
        bootstrap_intervals([one], 'x', resamples=2)


def test_ten_thousand_resamples_of_a_thousand_images_take_about_a_second():
    counts = simulated(np.random.default_rng(7), 1000)
    taken = []
    for _ in range(3):
        start = time.process_time()
        bootstrap_intervals(counts)
        taken.append(time.process_time() - start)
    assert min(taken) < 2.5  # about 0.1 s on an idle core
