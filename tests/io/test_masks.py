import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from mmirstd.io.masks import mask_labels, mask_values, read_mask

MASKS = hnp.arrays(
    st.sampled_from([np.uint8, np.uint16, np.int16, np.int32, np.float32, np.float64, np.bool_]),
    hnp.array_shapes(min_dims=2, max_dims=2, max_side=6),
    fill=st.nothing(),
)


@settings(max_examples=200, deadline=None)
@given(MASKS, st.sampled_from([0, 1, 127, 200]))
def test_labels_against_a_plain_loop(mask, threshold):
    if not np.isfinite(mask).all():
        with pytest.raises(ValueError, match='NaN or infinite'):
            mask_labels(mask, threshold)
        return
    if set(np.unique(mask).tolist()) <= {0, 1}:
        expected = [[int(v == 1) for v in row] for row in mask.tolist()]
    else:
        expected = [[int(v > threshold) for v in row] for row in mask.tolist()]
        if not np.any(expected):
            with pytest.raises(ValueError, match='none above the threshold'):
                mask_labels(mask, threshold)
            return
    result = mask_labels(mask, threshold)
    assert result.dtype == np.uint8
    assert result.tolist() == expected


@settings(max_examples=200, deadline=None)
@given(MASKS | hnp.arrays(np.float64, (2, 3), elements=st.floats(-1, 300)))
def test_training_and_evaluation_agree_on_every_mask(mask):
    """Either both give the same targets, or both refuse with the same words."""
    labels, values = outcome(mask_labels, mask), outcome(values_of, mask)
    if isinstance(labels, str):
        assert labels.startswith('m.png: ')
        assert values == labels
    else:
        assert values.dtype == np.uint8
        assert ((values > 127) == labels).all()


def outcome(rule, mask):
    try:
        return rule(mask, source='m.png')
    except ValueError as error:
        return str(error)


def values_of(mask, source='mask'):
    values, ignored = mask_values(mask, source=source)
    assert ignored is None
    return values


GRAY = np.array([[0, 64, 128, 255]], np.uint8)


@pytest.mark.parametrize(
    ('mask', 'values'),
    [
        (GRAY, GRAY),
        (GRAY // 255, [[0, 0, 0, 255]]),
        (GRAY > 100, [[0, 0, 255, 255]]),
        ((GRAY // 255).astype(np.float32), [[0, 0, 0, 255]]),
        (GRAY * 0, GRAY * 0),
        (np.dstack([GRAY // 2, GRAY, GRAY // 3]), GRAY),
        (np.dstack([GRAY, GRAY * 0]), GRAY),  # gray and alpha
        (np.dstack([GRAY, GRAY, GRAY, 255 - GRAY]), GRAY),
        (GRAY.astype(np.uint16), GRAY),
        (np.array([[0, 4095]], np.uint16), [[0, 255]]),  # 12 bits
        (np.array([[0, 65535]], np.uint16), [[0, 255]]),
        (np.array([[-5, 0, 300]], np.int16), [[0, 0, 255]]),
        (np.array([[0, 0.5, 127.5, 255]], np.float32), [[0, 1, 128, 255]]),
    ],
)
def test_values(mask, values):
    found = values_of(mask)
    assert found.dtype == np.uint8
    assert found.tolist() == np.asarray(values).tolist()
    assert mask_labels(mask).tolist() == (found > 127).astype(int).tolist()


@pytest.mark.parametrize('dtype', [np.uint8, np.uint16, np.float32])
def test_a_mask_without_a_target_value_is_refused_by_both(dtype):
    mask = np.array([[0, 100]], dtype)
    for rule in (mask_labels, mask_values):
        with pytest.raises(ValueError, match=r'a\.png: values up to 100.* none above the threshold of 127.*prepare'):
            rule(mask, source='a.png')
    assert mask_labels(mask, 50).tolist() == [[0, 1]]


def test_values_that_are_no_numbers_are_refused_by_both():
    for rule in (mask_labels, mask_values):
        with pytest.raises(ValueError, match=r'a\.tif: 1 of 2 values are NaN or infinite'):
            rule(np.array([[0, np.nan]]), source='a.tif')


def test_read_mask(tmp_path):
    cv2.imwrite(str(tmp_path / 'a.png'), GRAY)
    assert read_mask(tmp_path / 'a.png')[0].tolist() == GRAY.tolist()
    cv2.imwrite(str(tmp_path / 'b.png'), GRAY // 4)
    with pytest.raises(ValueError, match=r'b\.png: values up to 63'):
        read_mask(str(tmp_path / 'b.png'))
    (tmp_path / 'c.png').write_bytes(b'x')
    with pytest.raises(ValueError, match=r'c\.png: not a readable image'):
        read_mask(tmp_path / 'c.png')
