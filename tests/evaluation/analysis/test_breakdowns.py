import json
import math
import pickle
from dataclasses import asdict

import numpy as np
import pytest
from plain_evaluation import pd_fa, scipy_label

from mmirstd.evaluation.analysis.breakdowns import (
    FalseComponentRecord,
    FalseGroup,
    ImageRecord,
    TargetGroup,
    TargetRecord,
    by_false_area,
    by_false_border,
    by_image,
    by_target_area,
    by_target_border,
    by_target_scr,
    image_record,
    metrics_by,
    worst_images,
)
from mmirstd.evaluation.functional.counts import Counts, image_counts, sum_counts
from mmirstd.evaluation.functional.metrics import compute_metrics
from mmirstd.ops.target_statistics import target_statistics


def box(*boxes, size=(40, 50)):
    mask = np.zeros(size, bool)
    for top, left, height, width in boxes:
        mask[top : top + height, left : left + width] = True
    return mask


def random_pair(rng):
    shape = tuple(rng.integers(3, 40, 2))
    gt = rng.random(shape) < rng.choice([0, 0.02, 0.1])
    prediction = np.maximum(np.roll(gt, 1, 0) * rng.random(shape), rng.random(shape) ** 20)
    return prediction, gt, rng.random(shape) < 0.05


def test_record_of_a_drawn_image():
    mask = box((5, 5, 3, 3), (20, 30, 2, 4))
    prediction = box((5, 6, 3, 3), (34, 4, 2, 2), (0, 40, 1, 5)) * 0.8
    record = image_record(prediction, mask, img_id='a')
    assert record.targets == (
        TargetRecord(6.0, 6.0, 9, 6, True, None, 5),
        TargetRecord(20.5, 31.5, 8, 0, False, None, 16),
    )
    assert record.false == (FalseComponentRecord(0.0, 42.0, 5, 0), FalseComponentRecord(34.5, 4.5, 4, 4))
    assert record.counts == image_counts(prediction, mask)
    assert record.missed == 1
    assert record.iou == 6 / (9 + 8 + 9 + 9 - 6)
    assert pickle.loads(pickle.dumps(record)) == record
    assert json.loads(json.dumps(asdict(record)))['targets'][0][:4] == [6.0, 6.0, 9, 6]


def test_records_agree_with_the_counts_and_the_plain_evaluation():
    rng = np.random.default_rng(0)
    for i in range(60):
        prediction, gt, ignored = random_pair(rng)
        options = {'distance': float(rng.choice([1, 3])), 'connectivity': int(rng.choice([4, 8]))}
        record = image_record(prediction, gt * np.uint8(255), img_id=str(i), threshold=0.3, ignore=ignored, **options)
        mask = gt.astype(np.uint8)
        mask[ignored] = 255
        assert record.counts == image_counts(prediction, mask, threshold=0.3, **options)
        pred, target = (prediction > 0.3) & ~ignored, gt & ~ignored
        pairs = pd_fa(pred, target, options['distance'], options['connectivity'])[5]
        labels, number = scipy_label(target, options['connectivity'])
        assert [t.detected for t in record.targets] == [k in dict(pairs) for k in range(number)]
        assert [t.area for t in record.targets] == [(labels == k + 1).sum() for k in range(number)]
        assert [t.hit for t in record.targets] == [pred[labels == k + 1].sum() for k in range(number)]
        assert sum(t.hit for t in record.targets) == record.counts.tp
        assert sum(f.area for f in record.false) == record.counts.false_pixels
        assert len(record.false) == record.counts.false_components


def test_scr_is_that_of_the_statistics():
    rng = np.random.default_rng(1)
    mask = box((5, 5, 3, 3), (20, 30, 2, 4))
    image = rng.integers(0, 60, (*mask.shape, 3)).astype(np.uint8)
    image[mask] += 100
    ignored = box((10, 10, 20, 3))
    labels = mask.astype(np.uint8)
    labels[ignored] = 255
    for options in ({}, {'scr_width': 8, 'scr_gap': 2}):
        record = image_record(mask, mask, img_id='a', image=image, ignore=ignored, **options)
        names = {name.removeprefix('scr_'): value for name, value in options.items()}
        assert [t.scr for t in record.targets] == target_statistics(image, labels, **names).scr.tolist()
        assert all(t.scr > 1 for t in record.targets)
    flat = image_record(mask, mask, img_id='a', image=np.where(mask, 9, 1).astype(np.uint8))
    assert [t.scr for t in flat.targets] == [math.inf, math.inf]


def record_of(img_id, found=(), false=(), **counts):
    found, false = (
        tuple(TargetRecord(0, 0, *t, border=i) for i, t in enumerate(found)),
        tuple(FalseComponentRecord(0, 0, area, border=area) for area in false),
    )
    tp, wrong = counts.get('tp', 0), counts.get('fp', 0) + counts.get('fn', 0)
    return ImageRecord(img_id, Counts(images=1, inter=tp, union=tp + wrong, **counts), found, false)


RECORDS = [
    record_of('a', [(1, 1, True, 0.5), (9, 4, True, math.inf), (10, 0, False, 2.0)], [1, 3]),
    record_of('b', [(80, 60, True, math.nan), (79, 0, False, 16.0)], [80, 500]),
    record_of('c'),
]


def test_targets_by_area():
    groups = by_target_area(RECORDS)
    assert [g[:1] + g[3:] for g in groups] == [
        ('1 to 9', 2, 2, 10, 5),
        ('10 to 19', 1, 0, 10, 0),
        ('20 to 39', 0, 0, 0, 0),
        ('40 to 79', 1, 0, 79, 0),
        ('>= 80', 1, 1, 80, 60),
    ]
    assert groups[0].pd == 1
    assert groups[0].recall == 0.5
    assert math.isnan(groups[2].pd)
    assert math.isnan(groups[2].recall)
    assert by_target_area(RECORDS, [2, 3, 10])[:2] == [
        TargetGroup('< 2', -math.inf, 2, 1, 1, 1, 1),
        TargetGroup('2', 2, 3, 0, 0, 0, 0),
    ]
    assert [g.targets for g in by_target_area([])] == [0] * 5


def test_targets_by_scr():
    groups = by_target_scr(RECORDS)
    assert [(g.label, g.targets, g.detected) for g in groups] == [
        ('0 to 1', 1, 1),
        ('1 to 2', 0, 0),
        ('2 to 4', 1, 0),
        ('4 to 8', 0, 0),
        ('8 to 16', 0, 0),
        ('>= 16', 2, 1),
        ('undefined', 1, 1),
    ]
    assert by_target_scr(RECORDS[:1])[-1].label == '>= 16'
    with pytest.raises(ValueError, match='d: the targets have no SCR'):
        by_target_scr([*RECORDS, record_of('d', [(3, 3, True, None)])])


def test_false_components_by_area():
    assert by_false_area(RECORDS, [1, 4])[0] == FalseGroup('1 to 3', 1, 4, 2, 4)
    assert [(g.components, g.pixels) for g in by_false_area(RECORDS)] == [(2, 4), (0, 0), (0, 0), (0, 0), (2, 580)]


def test_groups_by_distance_to_the_border():
    assert [(g.label, g.targets, g.detected) for g in by_target_border(RECORDS, [0, 1, 2])] == [
        ('0', 2, 2),
        ('1', 2, 1),
        ('>= 2', 1, 0),
    ]
    assert [(g.label, g.components, g.pixels) for g in by_false_border(RECORDS)] == [
        ('0 to 3', 2, 4),
        ('4 to 15', 0, 0),
        ('16 to 63', 0, 0),
        ('>= 64', 2, 580),
    ]


def test_no_target_is_lost_in_groups():
    rng = np.random.default_rng(2)
    records = []
    for i in range(25):
        prediction, gt, _ = random_pair(rng)
        image = rng.integers(0, 3, gt.shape).astype(np.uint8)
        records.append(image_record(prediction, gt, img_id=str(i), image=image, threshold=0.3))
    total = sum_counts(r.counts for r in records)
    for groups in (
        by_target_area(records),
        by_target_scr(records),
        by_target_scr(records, [1.5]),
        by_target_area(records, [3]),
        by_target_border(records),
    ):
        assert sum(g.targets for g in groups) == total.targets
        assert sum(g.detected for g in groups) == total.detected
        assert sum(g.pixels for g in groups) == total.tp + total.fn
        assert sum(g.hit for g in groups) == total.tp
    for groups in (by_false_area(records), by_false_border(records)):
        assert sum(g.pixels for g in groups) == total.false_pixels


@pytest.mark.parametrize('edges', [[], [3, 3], [4, 2], [0, math.inf], [math.nan]])
def test_wrong_edges_are_refused(edges):
    with pytest.raises(ValueError, match='edges must'):
        by_target_area(RECORDS, edges)


def test_metrics_by_any_property_of_images():
    rng = np.random.default_rng(3)
    records = [image_record(*random_pair(rng)[:2], img_id=f'{i % 3}_{i}', threshold=0.3) for i in range(12)]
    groups = metrics_by(records, lambda r: r.img_id.split('_')[0])
    assert list(groups) == ['0', '1', '2']
    for name, metrics in groups.items():
        counts = [r.counts for r in records if r.img_id.startswith(name)]
        assert metrics == pytest.approx({'images': 4, **compute_metrics(sum_counts(counts))}, nan_ok=True)


def test_rows_of_images():
    mask = box((5, 5, 3, 3))
    rows = by_image([image_record(mask, mask, img_id='a'), image_record(~mask & False, ~mask & False, img_id='b')])
    assert rows[0]['img_id'] == 'a'
    assert (rows[0]['IoU'], rows[0]['targets'], rows[0]['missed'], rows[0]['pixels']) == (1, 1, 0, 2000)
    assert math.isnan(rows[1]['IoU'])
    assert list(rows[0]) == list(rows[1])


def test_the_worst_images_come_first():
    records = [
        record_of('perfect', tp=9),
        record_of('empty'),
        record_of('half', tp=5, fp=3, fn=2, targets=2, detected=1),
        record_of('half_large', tp=50, fp=50, false_pixels=7, targets=3, detected=3),
        record_of('b_none', fn=10, targets=3, detected=1),
        record_of('a_none', fp=10, false_pixels=10),
    ]
    names = lambda *args: [r.img_id for r in worst_images(records, *args)]
    assert names() == ['a_none', 'b_none', 'half_large', 'half']
    assert names('IoU', 1) == ['a_none']
    assert names('IoU', 0) == []
    assert names('false_pixels') == ['a_none', 'half_large']
    assert names('missed') == ['b_none', 'half']
    with pytest.raises(ValueError, match='by must be one of IoU'):
        names('Pd')
    with pytest.raises(ValueError, match='number'):
        names('IoU', -1)


def test_wrong_input_is_refused():
    mask = box((5, 5, 3, 3))
    with pytest.raises(ValueError, match='alike'):
        image_record(mask[1:], mask, img_id='a')
    with pytest.raises(ValueError, match='of one size'):
        image_record(mask, mask, img_id='a', image=np.zeros((3, 3)))
    with pytest.raises(ValueError, match='threshold'):
        image_record(mask, mask, img_id='a', threshold=1.5)
