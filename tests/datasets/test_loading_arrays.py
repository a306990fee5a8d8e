"""Arrays and bare paths instead of samples of a dataset: what prediction gives the loaders."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from mmcv.transforms import Compose
from mmengine.registry import DefaultScope

from mmirstd.datasets.transforms import LoadIRImage, LoadTargetMask


@pytest.mark.parametrize('dtype', [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize('shape', [(9, 7), (9, 7, 3), (9, 7, 4)])
@pytest.mark.parametrize('channels', [1, 3])
def test_an_array_is_loaded_as_the_file_that_holds_it(tmp_path, dtype, shape, channels):
    image = np.random.default_rng(0).integers(0, 256, shape).astype(dtype)
    image[0, 0] = 3
    path = str(tmp_path / 'image.tiff')
    cv2.imwrite(path, image)
    load = LoadIRImage(channels=channels)
    before = image.copy()
    from_file, from_array = load({'img_path': path}), load(image)
    np.testing.assert_array_equal(from_array['img'], from_file['img'])
    assert from_array['ori_shape'] == from_array['img_shape'] == (9, 7)
    assert from_array['img_path'] is None
    for given in (path, Path(path)):
        np.testing.assert_array_equal(load(given)['img'], from_file['img'])
    from_array['img'][:] = 0
    np.testing.assert_array_equal(image, before)  # the caller's array is not shared
    if image.ndim == 2:
        np.testing.assert_array_equal(load(image[..., None])['img'], from_file['img'])


@pytest.mark.parametrize(
    ('image', 'message'),
    [
        (np.zeros((4, 4, 2), np.uint8), r'the image: .* got \(4, 4, 2\)'),
        (np.zeros((0, 4), np.uint8), r'the image: .* got \(0, 4\)'),
        (np.zeros(4), r'the image: .* got \(4,\)'),
        (np.zeros((4, 4), bool), 'the image: .*real numbers, got bool'),
        (np.zeros((4, 4), complex), 'the image: .*real numbers, got complex'),
        (np.full((4, 4), np.nan), 'the image: 16 of 16 values are NaN or infinite'),
    ],
)
def test_no_image(image, message):
    with pytest.raises(ValueError, match=message):
        LoadIRImage()(image)


def test_a_list_is_no_array():
    with pytest.raises(ValueError, match=r'named: .* got <class'):
        LoadIRImage()({'img': [[1, 2]], 'img_path': 'named'})


@pytest.mark.parametrize('results', [{}, {'seg_map_path': None}])
def test_without_a_mask_nothing_is_loaded(results):
    assert LoadTargetMask()(dict(results)) == results


def test_the_names_that_mmsegmentation_looks_for():
    names = {'LoadImageFromFile': LoadIRImage, 'InferencerLoader': LoadIRImage, 'LoadImageFromNDArray': LoadIRImage}
    with DefaultScope.overwrite_default_scope('mmseg'):
        for name, cls in {**names, 'LoadAnnotations': LoadTargetMask}.items():
            (built,) = Compose([{'type': name, '_scope_': 'mmirstd'}]).transforms
            assert type(built) is cls
            (other,) = Compose([{'type': name}]).transforms
            assert not isinstance(other, cls)
