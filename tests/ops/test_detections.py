"""Detections from a probability map, against numbers worked out by hand."""

import csv
import io
import json

import numpy as np
import pytest

from mmirstd.ops.detections import COLUMNS, detect_targets
from mmirstd.ops.target_statistics import signal_to_clutter, target_statistics


def scene():
    """Two targets that touch at a corner, one of a single pixel, and an image with a bright first target."""
    probability = np.full((40, 50), 0.1, np.float32)
    probability[10, 20:22] = 0.75, 1.0
    probability[11, 22] = 0.625
    probability[30, 5] = 0.875
    image = np.random.default_rng(0).normal(100, 5, probability.shape)
    image[10, 20:22] += 60
    return probability, image


def test_numbers_of_each_target():
    probability, image = scene()
    found = detect_targets(probability, image, name='a')
    assert len(found) == 2
    assert found.boxes.tolist() == [[10, 20, 12, 23], [30, 5, 31, 6]]
    np.testing.assert_allclose(found.centroids, [[31 / 3, 21], [30, 5]])
    assert found.areas.tolist() == [3, 1]
    np.testing.assert_allclose(found.scores, [2.375 / 3, 0.875])
    assert found.peaks.tolist() == [1.0, 0.875]
    np.testing.assert_array_equal(found.mask, probability > 0.5)
    expected = target_statistics(image, found.mask.astype(np.uint8))
    np.testing.assert_array_equal(found.contrasts, expected.contrast)
    np.testing.assert_array_equal(found.scr, expected.scr)
    assert found.scr[0] > 5


def test_options():
    probability, _ = scene()
    assert len(detect_targets(probability, connectivity=4)) == 3
    assert detect_targets(probability, threshold=0.7).areas.tolist() == [2, 1]
    large = detect_targets(probability, min_area=2)
    assert large.areas.tolist() == [3]
    assert large.mask.sum() == 3
    assert not large.mask[30, 5]
    assert detect_targets(probability, threshold=0.875).areas.tolist() == [1]  # above, not at
    nothing = detect_targets(probability, threshold=0.0, min_area=40 * 50 + 1)
    assert len(nothing) == 0
    assert not nothing.mask.any()
    assert nothing.rows() == []
    assert nothing.scores.shape == nothing.peaks.shape == (0,)


def test_rows_json_and_csv_hold_the_same():
    probability, image = scene()
    found = detect_targets(probability, image[..., None], name='a,b')
    read = json.loads(found.to_json())
    assert {k: v for k, v in read.items() if k != 'targets'} == {
        'image': 'a,b', 'height': 40, 'width': 50, 'threshold': 0.5, 'connectivity': 8,
    }  # fmt: skip
    rows = found.rows()
    assert [{'image': 'a,b', **target} for target in read['targets']] == rows
    lines = list(csv.DictReader(io.StringIO(found.to_csv())))
    assert tuple(lines[0]) == COLUMNS
    assert [float(line['score']) for line in lines] == [row['score'] for row in rows]
    assert [int(line['area']) for line in lines] == [3, 1]
    assert detect_targets(np.zeros((4, 4))).to_csv() == ','.join(COLUMNS) + '\n'


def test_without_an_image_there_is_no_contrast():
    found = detect_targets(scene()[0])
    assert found.contrasts is found.scr is None
    assert found.rows()[0]['scr'] is None
    assert json.loads(found.to_json())['targets'][0]['contrast'] is None


def test_a_flat_image_has_infinite_ratio():
    probability, _ = scene()
    found = detect_targets(probability, np.where(probability > 0.5, 9.0, 1.0))
    assert found.contrasts.tolist() == [8, 8]
    assert json.loads(found.to_json())['targets'][0]['scr'] == 'inf'
    assert signal_to_clutter([-6, 0, 6, np.nan], [2, 0, 0, 1]).tolist()[::2] == [3, np.inf]
    assert np.isnan(signal_to_clutter([0, np.nan], [0, 1])).all()


@pytest.mark.parametrize(
    ('probability', 'options', 'message'),
    [
        (np.zeros((4, 4), np.uint8), {}, r'n: probabilities must be \(H, W\) floats, got \(4, 4\) of uint8'),
        (np.zeros((1, 4, 4)), {}, r'n: probabilities must be \(H, W\) floats'),
        (np.zeros((0, 4)), {}, r'n: probabilities must be \(H, W\) floats'),
        (np.full((4, 4), 1.5), {}, r'n: .* got \[1.5, 1.5\]; are these logits'),
        (np.full((4, 4), np.nextafter(np.float32(1), 2)), {}, r'n: .* got \[1.0000001, 1.0000001\]'),
        (np.full((4, 4), np.nan), {}, 'n: .* 16 values that are not finite'),
        (np.zeros((4, 4)), {'threshold': 1.0}, 'n: a threshold .* got 1.0 and 1'),
        (np.zeros((4, 4)), {'min_area': 0}, 'n: a threshold .* got 0.5 and 0'),
        (np.zeros((4, 4)), {'connectivity': 6}, 'connectivity must be 4 or 8, not 6'),
        (np.zeros((4, 4)), {'image': np.zeros((4, 5))}, r'n: the image is \(4, 5\), the probabilities \(4, 4\)'),
    ],
)
def test_mistakes(probability, options, message):
    with pytest.raises(ValueError, match=message):
        detect_targets(probability, name='n', **options)
