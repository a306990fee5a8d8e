"""What masks hold, judged over a set."""

import cv2
import numpy as np
import pytest

from mmirstd.io.mask_content import MaskContent, MaskSetError, judge_masks, mask_content, mask_contents
from mmirstd.io.masks import MaskRule, mask_labels


def mask(*patches, background=0, dtype=np.uint8):
    """16 x 16, with a number of pixels of each value."""
    pixels = np.full(256, background, dtype)
    at = 20
    for value, number in patches:
        pixels[at : at + number] = value
        at += number + 5
    return pixels.reshape(16, 16)


def judge(*masks, empty=0, **rule):
    contents = {f'{i}.png': mask_content(m, f'{i}.png') for i, m in enumerate(masks)}
    return judge_masks(contents, MaskRule(**rule), 'set', empty=empty)


def test_the_usual_codings_are_clear(warnings):
    for value, dtype in ((1, np.uint8), (255, np.uint8), (4095, np.uint16), (65535, np.uint16), (1.0, np.float32)):
        assert judge(mask((value, 4), dtype=dtype), mask(dtype=dtype)) == 1
    assert judge(mask((255, 4)), mask((255, 3), (130, 1), (64, 1), *((v, 1) for v in range(3, 40, 4)))) == 2
    assert warnings == []


def test_1_and_255_together_are_refused_until_an_option_decides(warnings):
    both, one = mask((1, 9), (255, 3)), mask((1, 4))
    message = (
        r'set: masks hold 1 \(13 pixels\) and 255 \(3 pixels\), in 1 of them together \(1\.png\).*'
        r'ignore_value=255: 1 is target.*target_value=255.*target_value=\[1, 255\]'
    )
    with pytest.raises(MaskSetError, match=message):
        judge(one, both)
    with pytest.raises(MaskSetError, match=r'in 0 of them together \(0\.png\)'):
        judge(one, mask((255, 4)))
    for rule, labels in (
        (dict(ignore_value=255), {0: 244, 1: 9, 255: 3}),
        (dict(target_value=255), {0: 253, 1: 3}),
        (dict(target_value=[1, 255]), {0: 244, 1: 12}),
    ):
        judge(one, both, **rule)
        values, counts = np.unique(mask_labels(both, MaskRule(**rule)), return_counts=True)
        assert dict(zip(values.tolist(), counts.tolist(), strict=True)) == labels
        assert mask_content(both, '').targets(MaskRule(**rule)) == labels[1]


def test_smooth_masks_keep_their_own_rule(warnings):
    edges = mask((255, 9), (1, 1), (2, 2), (7, 1), (60, 2), (130, 3), (200, 4), (240, 2))
    assert judge(edges) == 1
    assert warnings == []


def test_several_labels_are_named_with_what_becomes_of_them(warnings):
    assert judge(mask((100, 5), (255, 4)), mask((255, 4))) == 2
    assert len(warnings) == 1
    assert (
        'set: masks hold several values: 100 (5 pixels: background), 255 (8 pixels: target), as in 0.png' in warnings[0]
    )
    with pytest.raises(
        MaskSetError, match=r'1 of 2 masks have values \(1, 2, 3\), none above the threshold of 127 \(1\.p'
    ):
        judge(mask((255, 2)), mask((1, 2), (2, 2), (3, 1)))
    assert judge(mask((1, 2), (2, 2), (3, 1)), target_value=2) == 1


def test_inverted_masks_are_refused_until_an_option_says_so(warnings):
    inverted = 255 - mask((255, 4))
    message = r'more than half of the pixels are target in 2 of 2 masks \(0\.png, 1\.png\); .*target_value=0'
    with pytest.raises(MaskSetError, match=message):
        judge(inverted, inverted)
    assert judge(inverted, inverted, target_value=0) == 2
    assert warnings == []
    assert judge(inverted, mask((255, 4)), mask((255, 4))) == 3
    assert 'in 1 of 3 masks (0.png)' in warnings[0]


def test_no_target_at_all_is_said(warnings):
    assert judge(mask(), mask(), empty=3) == 0
    assert 'set: no target in any of 5 images (all values are 0; 0.png, 1.png)' in warnings[0]
    assert "missing_mask='empty'" in warnings[0]
    assert judge(mask((3, 2)), target_value=4) == 0
    assert 'their values are 0, 3' in warnings[1]
    assert judge(empty=2) == 0
    assert len(warnings) == 2


def test_a_mask_in_another_channel_is_refused():
    alpha = np.dstack([mask()] * 3 + [mask((255, 4))])
    for look in (mask_content, lambda m, source: mask_labels(m, source=source)):
        with pytest.raises(ValueError, match=r'a\.png: its colors hold nothing and its alpha channel does'):
            look(alpha, 'a.png')
        look(np.dstack([mask()] * 3 + [mask(background=255)]), 'a.png')


def test_colors_that_differ_are_said(warnings):
    zero = mask()
    assert judge(np.dstack([zero, zero, mask((255, 4))])) == 1  # red alone
    assert warnings == []
    assert judge(np.dstack([zero, mask((0, 4), (255, 3)), mask((255, 4))])) == 1
    assert 'masks have colors: green (3 pixels), red (4 pixels)' in warnings[0]


def test_very_many_values_keep_the_largest():
    values = np.arange(1, 90001, dtype=np.float32).reshape(300, 300)
    content = mask_content(values, 'a.tif')
    assert (len(content.values), max(content.values), sum(content.values.values())) == (256, 90000, 90000)


def test_contents_come_back_from_the_cache(tmp_path, monkeypatch):
    monkeypatch.setenv('MMIRSTD_CACHE', str(tmp_path / 'cache'))
    path = str(tmp_path / 'a.png')
    cv2.imwrite(path, np.dstack([mask(), mask((7, 4)), mask((0, 4), (255, 2))]))
    first = mask_contents([path])
    assert first == {path: MaskContent(256, {7: 4, 255: 2}, {'green': 4, 'red': 2})}
    monkeypatch.setattr('mmirstd.io.mask_content.read_verified', None)
    assert mask_contents([path]) == first


@pytest.mark.parametrize(
    ('rule', 'message'),
    [
        (dict(target_value='255'), 'target_value of masks must be a number'),
        (dict(ignore_value=[]), 'ignore_value of masks must be'),
        (dict(target_value=float('nan')), 'target_value'),
        (dict(target_value=[1, 255], ignore_value=255), r'share \[255\]'),
        (dict(threshold=-1), 'threshold'),
    ],
)
def test_rules_that_mean_nothing(rule, message):
    with pytest.raises(ValueError, match=message):
        MaskRule(**rule)
