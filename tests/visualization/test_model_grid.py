"""One image through several models."""

import numpy as np
import pytest

from mmirstd.apis import predict_by_models
from mmirstd.utils.errors import ArgumentError
from mmirstd.visualization.accuracy_over_latency import AccuracyPoint, draw_accuracy_over_latency
from mmirstd.visualization.model_grid import draw_model_grid


def test_a_panel_for_each_model():
    image, mask = np.zeros((40, 50), np.uint8), np.zeros((40, 50), bool)
    mask[10:13, 20:23] = True
    few = draw_model_grid(image, mask, {'a': mask.astype(float)})
    many = draw_model_grid(image, mask, {str(i): mask * 0.4 for i in range(4)}, 'title')
    assert many.shape[0] == pytest.approx(2 * few.shape[0], abs=2)
    assert many.shape[1] == few.shape[1]


def test_what_cannot_be_drawn():
    with pytest.raises(ValueError, match='no prediction'):
        draw_model_grid(np.zeros((4, 4)), np.zeros((4, 4)), {})
    with pytest.raises(ValueError, match=r'a: the prediction is \(2, 2\)'):
        draw_model_grid(np.zeros((4, 4)), np.zeros((4, 4)), {'a': np.zeros((2, 2))})
    with pytest.raises(ValueError, match='no point'):
        draw_accuracy_over_latency([], '', '')


def test_measured_and_quoted_points_differ():
    pictures = [draw_accuracy_over_latency([AccuracyPoint('a', 1.0, 0.5, m)], 't', 'a') for m in (True, False)]
    assert (pictures[0] != pictures[1]).any()


def test_weights_of_the_package_and_a_detector():
    image = np.random.default_rng(0).integers(0, 256, (48, 64), dtype=np.uint8)
    found = predict_by_models(image, models=['sgem_unet-s_5500'], detectors=['top-hat'])
    assert list(found) == ['sgem_unet-s_5500_nudt', 'top-hat']
    assert all(p.shape == (48, 64) for p in found.values())
    with pytest.raises(ArgumentError, match='no weights of the package are called x'):
        predict_by_models(image, models=['x'])
