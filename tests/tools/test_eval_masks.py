"""Masks of `mmirstd eval` are judged by what they hold, by the rule of training."""

import cv2
import numpy as np
import pytest

from mmirstd.apis import evaluate_predictions
from mmirstd.datasets import FolderDataset
from mmirstd.datasets.transforms import LoadIRImage, LoadTargetMask


def write(root, mask, prediction):
    """Two images, alike, with 8 x 8 masks that begin with the given values."""
    for folder, values in (('masks', mask), ('pred', prediction), ('images', prediction)):
        (root / folder).mkdir(parents=True, exist_ok=True)
        values = np.asarray(values)
        pixels = np.zeros((8, 8), values.dtype)
        pixels.flat[: len(values)] = values
        for name in 'ab':
            cv2.imwrite(str(root / folder / f'{name}.png'), pixels)


def training_labels(root, **options):
    return FolderDataset(data_root=root, pipeline=[LoadIRImage(), LoadTargetMask()], **options)[0]['gt_seg_map'].ravel()


def score(root, **options):
    return evaluate_predictions(root / 'pred', root / 'masks', workers=0, **options).metrics['exact']


PREDICTION = np.array([255, 0, 255, 255], np.uint8)


@pytest.mark.parametrize(
    ('mask', 'options', 'iou'),
    [
        (np.array([4095, 4095], np.uint16), {}, 1 / 4),
        (np.array([1, 1, 255], np.uint8), dict(ignore_value=255), 1 / 3),
        (np.array([1, 1, 255], np.uint8), dict(target_value=255), 1 / 3),
        (np.array([1, 1, 255], np.uint8), dict(target_value=[1, 255]), 2 / 4),
        (np.array([100, 100, 3], np.uint8), dict(target_value=100), 1 / 4),
    ],
)
def test_training_and_evaluation_take_the_same_pixels(tmp_path, mask, options, iou):
    write(tmp_path, mask, PREDICTION)
    assert score(tmp_path, **options)['IoU'] == iou
    labels = training_labels(tmp_path, **options)
    predicted = np.zeros(64, bool)
    predicted[:4] = PREDICTION > 0
    counted = labels != 255
    union = ((labels == 1) | predicted) & counted
    assert (union & predicted & (labels == 1)).sum() / union.sum() == iou


@pytest.mark.parametrize(
    ('mask', 'message'),
    [
        ([1, 1, 255], r'masks hold 1 \(4 pixels\) and 255 \(2 pixels\), in 2 of them together'),
        ([100], r'2 of 2 masks have values \(100\), none above the threshold of 127 .*target_value=100'),
        ([255] * 60, r'more than half of the pixels are target in 2 of 2 masks .*target_value=0'),
    ],
)
def test_both_refuse_with_the_same_words(tmp_path, mask, message):
    write(tmp_path, np.array(mask, np.uint8), PREDICTION)
    with pytest.raises(ValueError, match=message):
        score(tmp_path)
    with pytest.raises(ValueError, match=message):
        FolderDataset(data_root=tmp_path).check()


def test_ignored_pixels_count_in_no_part_of_the_report(tmp_path):
    write(tmp_path, np.array([1, 1, 255], np.uint8), PREDICTION)
    options = dict(
        ignore_value=255, breakdown=True, thresholds=5, img_dir=tmp_path / 'images', worst=2, out=tmp_path / 'r'
    )
    found = evaluate_predictions(tmp_path / 'pred', tmp_path / 'masks', workers=0, **options)
    pixels, _ = found.sweeps
    assert (pixels.target_pixels, pixels.background_pixels) == (4, 122)
    assert found.report['mask_rule'] == {'threshold': 127, 'target_value': None, 'ignore_value': (255,)}
    assert (tmp_path / 'r/worst/001_a.png').is_file()


def test_the_command_takes_the_values(tmp_path, call, capsys):
    write(tmp_path, np.array([1, 1, 255], np.uint8), PREDICTION)
    assert 'say what is target' in call('eval', 'pred', 'masks', '--workers', 0)
    assert call('eval', 'pred', 'masks', '--workers', 0, '--target-value', 1, 255) is None
    assert '0.5000' in capsys.readouterr().out
    line = call('eval', 'pred', 'masks', '--workers', 0, '--target-value', 1, '--ignore-value', 1)
    assert line == 'error: target_value and ignore_value of masks share [1.0]'
