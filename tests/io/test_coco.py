"""Run lengths of COCO, against pycocotools."""

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from mmirstd.io.annotations import AnnotationError
from mmirstd.io.coco import decode_rle, encode_rle, fill_polygons


@pytest.mark.parametrize('seed', range(8))
def test_run_lengths(seed):
    random = np.random.RandomState(seed)
    size = tuple(random.randint(1, 90, 2).tolist())
    mask = random.rand(*size) > random.rand()
    rle = encode_rle(mask)
    assert np.array_equal(decode_rle(rle, size, 'x'), mask)
    listed = coco_mask.frPyObjects({'size': list(size), 'counts': [0, size[0] * size[1]]}, *size)
    assert decode_rle({'size': list(size), 'counts': listed['counts']}, size, 'x').all()
    # One run more or less is an error, not memory of others.
    for counts in (rle['counts'] + '1', rle['counts'][:-1], rle['counts'] + 'o'):
        with pytest.raises(AnnotationError, match='do not add up'):
            decode_rle({'size': list(size), 'counts': counts}, size, 'x')


def test_polygons_are_one_target():
    square = np.array([[2, 1], [5, 1], [5, 4], [2, 4]], float)
    mask = fill_polygons([square, square + 4], (10, 12))
    expected = np.zeros((10, 12), bool)
    expected[1:4, 2:5] = expected[5:8, 6:9] = True
    assert np.array_equal(mask, expected)
