import numpy as np
import pytest

from mmirstd.visualization.canvas import load_font
from mmirstd.visualization.stages import Stage, _facts, _shown, _wrap, draw_stages


def stage(title, shape=(40, 60), seed=0, targets=(), note='', dtype=np.uint8):
    image = np.random.default_rng(seed).integers(0, 200, shape).astype(dtype)
    mask = np.zeros(shape[:2], np.uint8)
    for y, x in targets:
        mask[y : y + 2, x : x + 2] = 1
    return Stage(title, image, mask, note)


def test_rows_without_a_change_are_text_only():
    first, same = stage('Load', targets=[(5, 5)]), stage('Flip', targets=[(5, 5)])
    moved = stage('Flip', targets=[(5, 9)])
    heights = [len(draw_stages([('a', [first, second])])) for second in (same, moved)]
    assert heights[1] - heights[0] > 150
    assert len(draw_stages([('a', [first]), ('b', [first])])) == len(draw_stages([('a', [first])]))
    # The image in another type is a change, labels in another type are none.
    assert len(draw_stages([('a', [first, same._replace(mask=same.mask.astype(np.int64))])])) == heights[0]
    cast = same._replace(image=same.image.astype(np.float32))
    assert len(draw_stages([('a', [first, cast])])) == heights[1]


def test_columns_stand_side_by_side():
    a, b = [stage('Load', targets=[(5, 5)])], [stage('Load', (64, 20, 3), 1)]
    one, two = draw_stages([('a', a)]), draw_stages([('a', a), ('b', b)])
    assert two.shape[1] > 1.8 * one.shape[1]
    left = one.shape[1] - 24
    np.testing.assert_array_equal(two[60:150, :left], one[60:150, :left])


def color(picture, rgb):
    return (picture == rgb).all(-1)


def test_targets_are_outlined_boxed_and_magnified():
    plain = draw_stages([('a', [stage('Load')])])
    marked = draw_stages([('a', [stage('Load', targets=[(5, 5), (20, 40), (30, 10), (35, 50)])])])
    assert not color(plain, (0, 235, 120)).any()
    outlines = color(marked, (0, 235, 120))
    panel, views = outlines[:, : 12 + 256], outlines[:, 12 + 256 + 12 :]
    assert panel.sum() > 4 * 8  # all four in the image
    assert views.any()
    # Three magnified views, each in a frame of the target color.
    frames = color(marked, (50, 200, 90))[:, 12 + 256 + 12 :]
    assert (frames.sum(1) > 70).sum() == 6


def test_ignored_pixels_are_tinted():
    s = stage('Crop')
    s.mask[:, 30:] = 255
    s.image[:] = 100
    picture = draw_stages([('a', [s])])
    assert (picture[..., 2].astype(int) - picture[..., 1] > 20).mean() > 0.1


@pytest.mark.parametrize('shape', [(1, 1), (1, 1, 3), (3, 200), (200, 3, 1), (700, 600, 3)])
@pytest.mark.parametrize('dtype', [np.uint8, np.uint16, np.float32])
def test_any_size_and_type(shape, dtype):
    s = stage('Load', shape, dtype=dtype, targets=[(0, 0)])
    picture = draw_stages([('a', [s])], panel_size=128)
    assert picture.dtype == np.uint8
    assert picture.shape[1] == 24 + 128 + 12 + (128 - 24) // 3


def test_facts_say_what_an_image_is():
    gray = stage('Load', (4, 5), targets=[(1, 1)], note='flip True')
    gray = gray._replace(image=np.stack([gray.image] * 3, axis=-1))
    low, high = gray.image.min(), gray.image.max()
    assert _facts(gray, False) == f'5 x 4, uint8, 3 equal channels, {low} to {high}; 1 target; flip True'
    assert _facts(gray, True) == 'unchanged; flip True'
    assert _facts(Stage('x', np.ones((2, 3, 1), np.float32), None), False) == '3 x 2, float32, 1 channel, 1 to 1'
    assert _facts(Stage('x', None, None, 'why'), False) == 'no image; why'


def test_text_is_wrapped():
    font = load_font(12)
    text = 'one two three four five six seven eight nine ten ' * 3
    for room in (60, 150, 2000):
        lines = _wrap(text, font, room)
        assert all(font.getlength(line) <= room for line in lines)
        assert len(lines) <= 4
        whole = ' '.join(lines)
        assert whole == text if not whole.endswith('...') else text.startswith(whole[:-3])
    assert _wrap('', font, 100) == ['']
    assert _wrap('W' * 100, font, 60, most=2)[0].endswith('...')


def test_floating_images_on_the_8_bit_scale_are_not_stretched():
    image = np.random.default_rng(0).uniform(40, 90, (6, 7)).astype(np.float32)
    np.testing.assert_array_equal(_shown(image)[..., 0], np.rint(image))
    assert _shown(image * 100).max() == 255
    bgr = np.zeros((2, 2, 3), np.uint8)
    bgr[..., 0] = 200
    assert (_shown(bgr)[..., 2] == 200).all()


def test_a_stage_may_have_no_image():
    stages = [Stage('Keys', None, None), stage('Load'), Stage('Filter', None, None, 'gave no sample')]
    assert draw_stages([('a', stages)]).shape[0] > 256 * 40 / 60


def test_long_titles_are_cut():
    short, long = (draw_stages([('a', [stage(t)])]) for t in ('T()', 'Transform(' + 'argument=1, ' * 100 + ')'))
    assert short.shape[1] == long.shape[1]
    assert 0 < long.shape[0] - short.shape[0] < 40


def test_mistakes():
    with pytest.raises(ValueError, match='different pipelines'):
        draw_stages([('a', [stage('Load')]), ('b', [stage('Other')])])
    with pytest.raises(ValueError, match='panel_size must be at least 128, got 64'):
        draw_stages([('a', [stage('Load')])], panel_size=64)
