import itertools
import math
import pickle
from dataclasses import astuple, replace

import cv2
import numpy as np
import pytest
from golden import cases as golden
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image
from plain_evaluation import flood_fill

from mmirstd.evaluation.functional.counts import Counts, image_counts, protocol_counts, sum_counts
from mmirstd.evaluation.functional.metrics import compute_metrics
from mmirstd.evaluation.functional.protocols import PRESETS, Protocol, get_protocol, get_protocols

EXACT = PRESETS['exact']


def one(prediction, mask, protocol, **kwargs):
    (counts,) = protocol_counts(prediction, mask, [protocol], **kwargs)
    return counts


# A second implementation, plain and slow: whole images, one protocol at a time, components as sets of pixels.


def plain_resize(array, shape, way):
    if array.shape == shape:
        return array
    if way == 'opencv-linear':
        return cv2.resize(array, shape[::-1], interpolation=cv2.INTER_LINEAR)
    return golden.nearest(array, shape, {'pillow-nearest': 'centre', 'opencv-nearest': 'corner'}[way])


def plain_rule(mask, rule, file_max):
    if rule == 'max':
        return (mask == mask.max()) & (mask > 0)
    if rule == 'file-max':
        return (mask == file_max) & (mask > 0)
    return {'255': mask == 255, '>=128': mask >= 128, '>0': mask > 0}[rule]


def plain_components(mask, connectivity):
    labels, number = flood_fill(mask, connectivity)
    return [np.argwhere(labels == k) for k in range(1, number + 1)]


def plain_distance(a, b):
    (r, c), (rr, cc) = a.mean(axis=0), b.mean(axis=0)
    return math.sqrt((r - rr) ** 2 + (c - cc) ** 2)


def plain_matches(targets, components, p):
    """Pairs (target, component)."""
    if p.matching == 'overlap':
        pixels = [set(map(tuple, c.tolist())) for c in (*targets, *components)]
        ours, theirs = pixels[: len(targets)], pixels[len(targets) :]
        return [(i, j) for i, a in enumerate(ours) for j, b in enumerate(theirs) if a & b]
    apart = {(i, j): plain_distance(a, b) for i, a in enumerate(targets) for j, b in enumerate(components)}
    near = [pair for pair, distance in apart.items() if distance < p.distance]
    if p.matching == 'hungarian':
        most = max_matching(near)
        return min(most, key=lambda pairs: sum(apart[pair] for pair in pairs))
    if p.matching == 'nearest':
        near.sort(key=lambda pair: apart[pair])
    pairs = []
    for i, j in near:
        if all(i != a and j != b for a, b in pairs):
            pairs.append((i, j))
    return pairs


def max_matching(near):
    """All sets of pairs of the largest size."""
    found = [()]
    for i in sorted({i for i, _ in near}):
        found += [
            (*pairs, (i, j)) for pairs in found for a, j in near if a == i and all(j != other for _, other in pairs)
        ]
    size = max(map(len, found))
    return [pairs for pairs in found if len(pairs) == size]


def plain_counts(prediction, mask, p, ignore=None):
    ignore = np.zeros(mask.shape, bool) if ignore is None else ignore
    mask = np.where(ignore, 0, mask).astype(np.uint8)
    file_max = mask.max()
    if p.mismatch == 'crop' and prediction.shape != p.shape:
        h, w = min(mask.shape[0], prediction.shape[0]), min(mask.shape[1], prediction.shape[1])
        mask, ignore, prediction = mask[:h, :w], ignore[:h, :w], prediction[:h, :w]
    shape = p.shape or prediction.shape
    prediction = plain_resize(prediction, shape, p.pred_interpolation)
    mask, ignore = (plain_resize(a, shape, p.mask_interpolation) for a in (mask, ignore))
    prediction = np.where(ignore, 0, prediction)
    if p.normalize and prediction.max() > 0:
        prediction = prediction / prediction.max()
    positive = prediction > p.threshold
    targets = {rule: plain_rule(mask, rule, file_max) for rule in ('255', '>=128', '>0', 'max', 'file-max')}

    def overlap(rule):
        hit, area = ('255', '>=128') if rule == 'mixed' else (rule, rule)
        inter = int((positive & targets[hit]).sum())
        return inter, int(positive.sum() + targets[area].sum()) - inter

    inter, union = overlap(p.iou_mask)
    image_inter, image_union = overlap(p.niou_mask)
    tp = int((positive & targets[p.f1_mask]).sum())
    truth, found = (plain_components(m, p.connectivity) for m in (targets[p.target_mask], positive))
    pairs = plain_matches(truth, found, p)
    matched = {j for _, j in pairs}
    free = [len(c) for j, c in enumerate(found) if j not in matched]
    areas = [len(found[j]) for j in matched]
    background = ~targets[p.target_mask] & ~ignore
    area = {
        'exact': sum(free),
        'legacy': sum(a for a in free if a not in areas),
        'outside': int((positive & background).sum()),
    }[p.fa]
    pixels = int((~ignore).sum())
    denominator = {'pixels': pixels, 'last': pixels, 'background': int(background.sum())}
    counts = dict(
        images=1, pixels=pixels, last_pixels=pixels, inter=inter, union=union, tp=tp, fp=int(positive.sum()) - tp,
        empty_images=int(image_union == 0), iou_sum=image_inter / image_union if image_union else 0.0,
        fn=int((~positive & targets[p.missed_mask]).sum()),
    )  # fmt: skip
    if truth or not p.skip_empty:
        counts.update(
            target_images=int(bool(truth)), targets=len(truth), detected=len({i for i, _ in pairs}),
            components=len(found), false_components=len(free), false_pixels=area,
            fa_pixels=denominator.get(p.fa_denominator, p.fa_denominator), fa_images=1,
        )  # fmt: skip
    if p.auc_bins is not None:
        false, hit = [], []
        for k in range(p.auc_bins + 1):
            above = (prediction >= np.array(k / p.auc_bins, prediction.dtype)) & ~ignore
            counted = bool(truth) or not p.skip_empty
            false.append(int((above & background).sum()) * counted)
            hit.append(sum(bool(above[tuple(t.T)].any()) for t in truth))
        counts.update(auc_false=tuple(false), auc_detected=tuple(hit))
    return Counts(**counts)


VALUES = [0, 0, 0, 0, 1, 64, 127, 128, 200, 254, 255, 255, 255]
RULES = ['255', '>=128', '>0', 'max', 'file-max']


def any_protocol():
    return st.builds(
        Protocol,
        name=st.just('any'),
        threshold=st.sampled_from([0, 0.25, 0.5, 0.75]),
        normalize=st.booleans(),
        size=st.sampled_from([None, None, 4, (7, 3)]),
        mask_interpolation=st.sampled_from(['pillow-nearest', 'opencv-nearest']),
        pred_interpolation=st.sampled_from(['pillow-nearest', 'opencv-nearest', 'opencv-linear']),
        mismatch=st.sampled_from(['resize', 'crop']),
        iou_mask=st.sampled_from([*RULES, 'mixed']),
        niou_mask=st.sampled_from([*RULES, 'mixed']),
        target_mask=st.sampled_from(RULES),
        f1_mask=st.sampled_from(RULES),
        missed_mask=st.sampled_from(RULES),
        matching=st.sampled_from(['greedy', 'nearest', 'hungarian', 'overlap']),
        distance=st.sampled_from([1.1, 2.0, 3.0, math.inf]),
        connectivity=st.sampled_from([4, 8]),
        fa=st.sampled_from(['exact', 'legacy', 'outside']),
        fa_denominator=st.sampled_from(['pixels', 'last', 'background', 1000]),
        skip_empty=st.booleans(),
        auc_bins=st.sampled_from([None, 1, 7]),
    )


@settings(max_examples=400, deadline=None)
@given(
    data=st.data(),
    protocols=st.lists(any_protocol(), min_size=1, max_size=4),
    shape=st.tuples(st.integers(1, 8), st.integers(1, 8)),
    alike=st.booleans(),
    binary=st.booleans(),
)
def test_any_protocol_on_any_image_agrees_with_brute_force(data, protocols, shape, alike, binary):
    other = shape if alike else data.draw(st.tuples(st.integers(1, 8), st.integers(1, 8)))
    prediction = data.draw(
        hnp.arrays(np.float32, shape, elements=st.sampled_from([0.0, 0.125, 0.25, 0.5, 0.625, 0.75, 1.0]))
    )
    mask = data.draw(hnp.arrays(np.uint8, other, elements=st.sampled_from([0, 0, 255] if binary else VALUES)))
    ignore = data.draw(st.none() | hnp.arrays(bool, other))
    if mask.max() == 1:  # labels
        mask *= 255
    for protocol, counts in zip(protocols, protocol_counts(prediction, mask, protocols, ignore=ignore), strict=True):
        assert counts == plain_counts(prediction, mask, protocol, ignore)


def random_image(rng, shape=(40, 56), values=(255,)):
    mask, prediction = np.zeros(shape, np.uint8), rng.random(shape) * 0.4
    for _ in range(rng.integers(0, 4)):
        row, col = (rng.integers(0, n - 4) for n in shape)
        mask[row : row + rng.integers(1, 5), col : col + rng.integers(1, 5)] = rng.choice(values)
    shifted = np.roll(mask > 0, rng.integers(-2, 3, 2), (0, 1)) & (rng.random(shape) < 0.9)
    prediction[shifted] = 0.95
    for _ in range(rng.integers(0, 3)):
        row, col = (rng.integers(0, n - 4) for n in shape)
        prediction[row : row + rng.integers(1, 4), col : col + rng.integers(1, 4)] = 0.8
    return prediction.astype(np.float32), mask


def test_presets_agree_with_brute_force_on_larger_images():
    rng = np.random.default_rng(0)
    # Of the published sizes only the ratio matters; the plain code would take minutes at 512.
    presets = [replace(p, size=p.size and p.size // 8) for p in PRESETS.values() if p.name != 'exact']
    for _ in range(12):
        prediction, mask = random_image(rng, values=(255, 255, 200, 90))
        for p, counts in zip(presets, protocol_counts(prediction, mask, presets), strict=True):
            assert counts == plain_counts(prediction, mask, p), p.name


def test_together_and_alone_are_the_same():
    rng = np.random.default_rng(1)
    protocols = get_protocols(['all', dict(preset='dnanet', threshold=0.3), dict(preset='exact', connectivity=4)])
    for _ in range(10):
        prediction, mask = random_image(rng, values=(255, 129, 30))
        together = protocol_counts(prediction, mask, protocols)
        assert together == [one(prediction, mask, p) for p in protocols]
        assert together[::-1] == protocol_counts(prediction, mask, protocols[::-1])
        assert together == protocol_counts(prediction, mask, ['all', *protocols[-2:]])


@pytest.mark.parametrize('threshold', [0.0, 0.3, 0.5])
def test_labels_and_mask_values_give_the_same_counts(threshold):
    rng = np.random.default_rng(2)
    protocol = get_protocol(dict(preset='exact', threshold=threshold))
    for i in range(60):
        prediction, mask = random_image(rng) if i % 3 else (rng.random((9, 7)).astype('f4'), rng.integers(0, 2, (9, 7)))
        ignore = rng.random(mask.shape) < rng.choice([0, 0.1])
        labels = np.where(ignore, 255, mask > 0).astype(np.uint8)
        counts = one(prediction, mask, protocol, ignore=ignore)
        assert counts == image_counts(prediction, labels, threshold=threshold)
        assert counts == plain_counts(prediction, np.where(mask > 0, 255, 0), protocol, ignore)


@pytest.mark.parametrize('protocol', ['sctransnet', dict(preset='rpcanet', size=None), dict(preset='acm', size=64)])
def test_labels_bytes_and_probabilities_say_the_same(protocol):
    rng = np.random.default_rng(3)
    prediction, mask = random_image(rng)
    positive = prediction > 0.5
    expected = protocol_counts(positive, mask, protocol)
    for other in (mask > 0, (mask > 0).astype(np.uint8), (mask > 0).astype(np.int64), mask.astype(np.int32)):
        assert protocol_counts(positive, other, protocol) == expected
    for other in (positive.astype(np.uint8), positive.astype(np.int64), positive.astype(np.float64)):
        assert protocol_counts(other, mask, protocol) == expected
    assert (protocol_counts(prediction, mask, protocol) == expected) == (protocol == 'sctransnet')
    for protocol in ('all', dict(preset='exact', size=(20, 99), pred_interpolation='pillow-bilinear')):
        flipped = prediction[:, ::-1], mask[:, ::-1]
        assert protocol_counts(*flipped, protocol) == protocol_counts(*(a.copy() for a in flipped), protocol)


def test_a_byte_is_positive_from_128_on():
    prediction = np.arange(256, dtype=np.uint8).reshape(16, 16)
    counts = one(prediction, np.zeros((16, 16), np.uint8), EXACT)
    assert counts.fp == 128
    assert one(prediction, prediction, EXACT).tp == 128
    assert one(prediction, prediction, get_protocol(dict(preset='exact', threshold=0.2))).fp == 256 - 52 - 128


@pytest.mark.parametrize('dtype', [np.float16, np.float32, np.float64])
def test_all_floating_types_are_taken(dtype):
    rng = np.random.default_rng(4)
    prediction, mask = random_image(rng, (64, 64))
    prediction = (np.round(prediction * 64) / 64).astype(dtype)
    protocols = get_protocols(['all', dict(preset='rpcanet', size=None, normalize=False)])
    assert protocol_counts(prediction, mask, protocols) == protocol_counts(prediction.astype('f8'), mask, protocols)
    native = dict(preset='rpcanet', size=None)  # its quotients differ from type to type, next to the thresholds
    expected = 'float64' if dtype is np.float64 else 'float32'
    assert protocol_counts(prediction, mask, native) == protocol_counts(prediction.astype(expected), mask, native)
    assert prediction.dtype == dtype


def test_inputs_are_not_changed():
    prediction, mask = random_image(np.random.default_rng(5))
    ignore = mask == 255
    copies = [a.copy() for a in (prediction, mask, ignore)]
    for array in (prediction, mask, ignore):
        array.setflags(write=False)
    protocol_counts(prediction, mask, 'all', ignore=ignore)
    for array, copied in zip((prediction, mask, ignore), copies, strict=True):
        np.testing.assert_array_equal(array, copied)


def test_legacy_hides_false_components_as_large_as_a_match():
    target, prediction = np.zeros((2, 32, 32), bool)
    target[4:7, 4:7] = prediction[4:7, 4:7] = True
    prediction[20:23, 20:23] = prediction[28:31, 4:7] = prediction[12:14, 28:30] = True  # 9, 9 and 4 pixels
    exact, legacy = protocol_counts(prediction, target, [EXACT, replace(EXACT, name='legacy', fa='legacy')])
    assert (exact.false_pixels, legacy.false_pixels) == (22, 4)
    assert (exact.false_components, legacy.false_components) == (3, 3)
    assert replace(exact, false_pixels=4) == legacy


def test_fa_denominators():
    prediction, target = np.zeros((2, 8, 10), bool)
    target[2, 2:5] = True
    prediction[6, :4] = True
    large = np.pad(prediction, 4), np.pad(target, 4)
    for denominator, expected in (
        ('pixels', 80 + 16 * 18),
        ('background', 77 + 16 * 18 - 3),
        ('last', 160),
        (500, 1000),
    ):
        p = replace(EXACT, fa_denominator=denominator)
        counts = one(*large, p) + one(prediction, target, p)
        assert compute_metrics(counts, p)['Fa'] == 8e6 / expected


def test_images_without_target_can_be_left_out():
    nothing, something = np.zeros((8, 8), bool), np.zeros((8, 8), bool)
    something[2:4, 2:4] = True
    p = replace(EXACT, skip_empty=True, fa_denominator='last')
    counts = one(something, nothing, p) + one(something, something, p)
    assert (counts.images, counts.fa_images, counts.target_images, counts.false_pixels) == (2, 1, 1, 0)
    assert compute_metrics(counts, p)['Fa'] == 0
    assert counts.fp == 4
    assert math.isnan(compute_metrics(one(something, nothing, p), p)['Fa'])


def test_normalized_maps_always_have_a_positive_pixel():
    prediction = np.zeros((8, 8), np.float32)
    p = replace(EXACT, normalize=True)
    assert one(prediction, prediction > 0, p).components == 0
    prediction[3, 4] = 1e-9
    assert one(prediction, prediction > 0, p).detected == 1
    prediction[0, 0] = 1
    ignore = prediction == 1
    assert one(prediction, (prediction > 0) & ~ignore, p, ignore=ignore).detected == 1


def test_sizes_that_differ():
    prediction = np.zeros((40, 24), np.float32)
    prediction[10:14, 10:14] = 1
    mask = np.kron((prediction > 0.5).astype(np.uint8) * 255, np.ones((2, 2), np.uint8))
    with pytest.raises(ValueError, match=r'Misc_111: mask \(80, 48\) and prediction \(40, 24\) differ .* refuses'):
        protocol_counts(prediction, mask, [replace(EXACT, mismatch='error')], source='Misc_111')
    resized = one(prediction, mask, EXACT)
    assert (resized.tp, resized.fp, resized.fn, resized.pixels) == (16, 0, 0, 960)
    cropped = one(prediction, mask, replace(EXACT, mismatch='crop'))
    assert (cropped.tp, cropped.fp, cropped.fn, cropped.pixels) == (0, 16, 8 * 4, 960)
    padded = np.pad(prediction, ((0, 24), (0, 8)), constant_values=0.9)  # code that pads to multiples of 32
    assert one(padded, mask[:40, :24], replace(EXACT, mismatch='crop')) == one(prediction, mask[:40, :24], EXACT)
    # The output of a network at the protocol's size is right whatever the size of the mask file.
    fixed = replace(EXACT, mismatch='error', size=(40, 24))
    assert one(prediction, mask, fixed) == resized
    assert one(prediction, mask, replace(fixed, mismatch='crop')) == resized


def test_exact_reads_a_larger_mask_as_the_loader_does():
    rng = np.random.default_rng(6)
    mask = (rng.random((400, 592)) < 0.1).astype(np.uint8) * 255  # sizes of Misc_111 of NUAA-SIRST
    prediction = rng.random((220, 325)).astype(np.float32)
    loaded = np.asarray(Image.fromarray((mask > 127).astype(np.uint8)).resize((325, 220), Image.Resampling.NEAREST))
    counts, expected = one(prediction, mask, EXACT), image_counts(prediction, loaded)
    assert (counts.tp, counts.fn, counts.targets) == (expected.tp, expected.fn, expected.targets)


def test_sum_keeps_order_and_refuses_other_protocols():
    rng = np.random.default_rng(7)
    found = [protocol_counts(*random_image(rng, (16 + i, 16)), 'all') for i in range(6)]
    for counts in zip(*found, strict=True):
        total = sum_counts(counts)
        assert total == sum_counts([sum_counts(counts[:2]), *counts[2:]])
        assert total.last_pixels == counts[-1].last_pixels
        assert replace(sum_counts(counts[::-1]), last_pixels=total.last_pixels) == total
        assert counts[0] + counts[1] == sum_counts(counts[:2])
        assert total + Counts() == total == Counts() + total
        assert pickle.loads(pickle.dumps(total)) == total
        plain = itertools.chain.from_iterable(v if isinstance(v, tuple) else (v,) for v in astuple(total))
        assert all(type(value) in (int, float) for value in plain)
    assert sum_counts([]) == Counts()
    with pytest.raises(ValueError, match='several protocols'):
        sum_counts(found[0])


def test_auc_of_a_perfect_map_is_nearly_one_and_of_a_constant_one_a_half():
    p = PRESETS['rpcanet']
    mask = np.zeros((256, 256), np.uint8)
    mask[100:104, 100:104] = 255
    assert compute_metrics(one((mask > 0).astype(np.float32), mask, p), p)['AUC'] == 1
    assert compute_metrics(one(np.full(mask.shape, 0.3, np.float32), mask, p), p)['AUC'] == 0
    assert math.isnan(compute_metrics(one(np.full(mask.shape, 0.3, np.float32), 0 * mask, p), p)['AUC'])
    assert math.isnan(compute_metrics(one(np.full(mask.shape, 0.3), np.full_like(mask, 255), p), p)['AUC'])


def test_undefined_metrics_follow_the_protocol():
    nothing = np.zeros((256, 256), bool)
    for p in PRESETS.values():
        metrics = compute_metrics(one(nothing, nothing, p), p)
        assert math.isnan(metrics['Pd'])
        assert math.isnan(metrics['IoU']) == (p.name == 'exact')
        assert metrics['nIoU'] == 0 if p.name != 'exact' else math.isnan(metrics['nIoU'])
        assert math.isnan(metrics['precision']) == (p.ratio_eps == 0)
        assert ('AUC' in metrics) == (p.name == 'rpcanet')
        assert set(p.reported) <= set(metrics)


@pytest.mark.parametrize(
    ('prediction', 'mask', 'ignore', 'message'),
    [
        (np.array([[np.nan, np.inf]]), np.zeros((1, 2), bool), None, '2 values that are not finite'),
        (np.array([[-3.0, 0.5]]), np.zeros((1, 2), bool), None, r'\[-3\.0, 0\.5\]; are these logits'),
        (np.array([[0, 300]]), np.zeros((1, 2), bool), None, 'must hold 0 and 1 or be uint8, got int64 up to 300'),
        (np.zeros((1, 2), complex), np.zeros((1, 2), bool), None, 'not complex128'),
        (np.zeros((1, 2, 1)), np.zeros((1, 2), bool), None, r'prediction must be \(H, W\)'),
        (np.zeros((1, 0)), np.zeros((1, 0), bool), None, r'prediction must be \(H, W\)'),
        (np.zeros((1, 2)), np.zeros((1, 2, 3), bool), None, r'mask must be \(H, W\)'),
        (np.zeros((1, 2)), np.zeros((1, 2)), None, 'mask must be boolean or integer, not float64'),
        (np.zeros((1, 2)), np.array([[0, 256]]), None, '0 to 255, got 0 to 256'),
        (np.zeros((1, 2)), np.array([[0, -1]]), None, '0 to 255, got -1 to 0'),
        (np.zeros((1, 2)), np.zeros((1, 2), bool), np.zeros((2, 1), bool), r'of the mask \(1, 2\), got bool \(2, 1\)'),
        (np.zeros((1, 2)), np.zeros((1, 2), bool), np.zeros((1, 2)), 'got float64'),
    ],
)
def test_bad_arrays_are_refused(prediction, mask, ignore, message):
    with pytest.raises(ValueError, match=message):
        protocol_counts(prediction, mask, 'exact', ignore=ignore)
    with pytest.raises(ValueError, match='^image 7: .*' + message):
        protocol_counts(prediction, mask, 'exact', ignore=ignore, source='image 7')
