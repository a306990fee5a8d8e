import cv2
import numpy as np
import pytest
import torch
from mmseg.registry import TRANSFORMS

import mmirstd  # noqa: F401
from mmirstd.models.losses import mask_boundary


def canny(mask, **kwargs):
    return TRANSFORMS.build(dict(type='mmirstd.CannyEdge', **kwargs)).transform(dict(gt_seg_map=mask))['gt_edge_map']


@pytest.mark.parametrize('seed', range(4))
def test_thresholds_do_not_matter_and_most_edges_lie_on_the_boundary(seed):
    rng = np.random.default_rng(seed)
    mask = np.zeros((96, 80), np.uint8)
    for _ in range(6):
        y, x = rng.integers(5, 75, 2)
        axes = tuple(int(n) for n in rng.integers(2, 8, 2))
        cv2.ellipse(mask, (int(x), int(y)), axes, float(rng.integers(180)), 0, 360, 1, -1)
    edge = canny(mask)
    assert edge.dtype == np.uint8
    assert edge.shape == mask.shape
    np.testing.assert_array_equal(edge, cv2.Canny(mask * 255, 100, 200) // 255)
    for low, high in ((0, 0), (1, 254), (254, 254)):
        np.testing.assert_array_equal(canny(mask, low=low, high=high), edge)
    boundary = mask_boundary(torch.from_numpy(mask)[None])[0].numpy()
    assert edge[boundary == 1].sum() >= 0.99 * edge.sum() > 50


def test_cannys_edges_of_real_masks_lie_on_the_boundary(real_data):
    total = np.zeros(3, int)
    for path in sorted((real_data / 'NUAA-SIRST/masks').glob('*.png')):
        mask = (cv2.imread(str(path), cv2.IMREAD_GRAYSCALE) > 127).astype(np.uint8)
        edge = canny(mask) == 1
        boundary = mask_boundary(torch.from_numpy(mask)[None])[0].numpy() == 1
        total += [edge.sum(), (edge & boundary).sum(), boundary.sum()]
    edges, inside, boundaries = total
    assert edges > 9000
    assert inside > 0.998 * edges
    assert 1.9 * edges < boundaries < 2.2 * edges


def test_a_target_of_two_by_two_pixels_has_no_canny_edge():
    mask = np.zeros((9, 9), np.uint8)
    mask[4:6, 4:6] = 1
    assert not canny(mask).any()
    assert mask_boundary(torch.from_numpy(mask)[None]).sum() == 4 + 8


def test_ignored_ground_is_background():
    mask = np.full((9, 9), 255, np.uint8)
    assert not canny(mask).any()
    mask[3:6, 3:6] = 1
    assert canny(mask).any()


def test_packs_and_describes_itself():
    pack = TRANSFORMS.build(dict(type='PackSegInputs', meta_keys=()))
    results = dict(img=np.zeros((9, 9, 3), np.uint8), gt_seg_map=np.eye(9, dtype=np.uint8))
    edge = TRANSFORMS.build(dict(type='mmirstd.CannyEdge'))
    sample = pack(edge(results))['data_samples']
    assert sample.gt_edge_map.data.shape == (1, 9, 9)
    assert repr(edge) == 'CannyEdge(low=100, high=200)'


@pytest.mark.parametrize(('low', 'high'), [(-1, 5), (5, 1)])
def test_thresholds_must_be_ordered(low, high):
    with pytest.raises(ValueError, match=f'got {low} and {high}'):
        canny(np.zeros((3, 3), np.uint8), low=low, high=high)
