"""Targets grown from their peak."""

import numpy as np
import pytest

from mmirstd.ops.growing import Growth, grow_target, point_window


def image_with(values, at=(8, 8), size=(20, 20), background=10.0):
    image = np.full(size, background)
    values = np.asarray(values, float)
    image[at[0] : at[0] + values.shape[0], at[1] : at[1] + values.shape[1]] = values
    return image


def test_the_component_of_the_peak_is_the_target():
    image = image_with([[110, 60, 10, 90]])
    grown = grow_target(image, (7, 7, 11, 14), Growth(level=0.3))
    assert np.argwhere(grown.mask).tolist() == [[1, 1], [1, 2]]
    assert grown.scr == np.inf
    assert not grown.cut


def test_a_point_finds_the_peak_near_it():
    image = image_with([[110, 10, 10, 10, 10, 200]])
    window = point_window(8, 8, image.shape, Growth())
    assert window == (1, 1, 16, 16)
    assert np.argwhere(grow_target(image, window, point=(8, 8)).mask).tolist() == [[7, 7]]
    assert np.argwhere(grow_target(image, window).mask).tolist() == [[7, 12]]


def test_boxes_of_other_targets_are_no_background():
    image = image_with([[50]]) + np.pad(np.full((20, 6), 100.0), ((0, 0), (0, 14)))
    box, taken = (8, 8, 9, 9), np.zeros((20, 20), bool)
    near = grow_target(image, box, Growth(ring=3))
    taken[:, :6] = True
    without = grow_target(image, box, Growth(ring=3), taken=taken)
    assert without.scr == np.inf > near.scr


def test_what_fills_its_box_is_cut():
    image = np.full((20, 20), 10.0)
    image[8:11] = 100
    assert not grow_target(image, (4, 4, 15, 15)).cut
    image[:, 8:11] = 100
    assert grow_target(image, (4, 4, 15, 15)).cut
    # At the border of the image, nothing is known of what goes on.
    assert not grow_target(image_with([[90]], at=(0, 0)), (0, 0, 3, 3)).cut


@pytest.mark.parametrize(('polarity', 'level'), [('bright', 5.0), ('dark', 15.0), ('bright', 10.0)])
def test_nothing_that_stands_out_is_an_error(polarity, level):
    with pytest.raises(ValueError, match=rf'nothing in it is {polarity}er .*peak {level:g}, background 10'):
        grow_target(image_with([[level]]), (8, 8, 9, 9), Growth(polarity=polarity))


def test_a_box_of_the_whole_image_is_an_error():
    with pytest.raises(ValueError, match='no background'):
        grow_target(np.eye(4), (0, 0, 4, 4))


@pytest.mark.parametrize('options', [{'level': 0.0}, {'ring': 0}, {'window': 3}, {'window': 6}, {'polarity': 'red'}])
def test_wrong_options(options):
    with pytest.raises(ValueError, match=r'level|ring|polarity'):
        Growth(**options)
