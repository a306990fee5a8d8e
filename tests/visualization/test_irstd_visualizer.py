import sys

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample

from mmirstd.registry import VISUALIZERS
from mmirstd.visualization import IRSTDVisualizer, draw_detections, to_display
from mmirstd.visualization.canvas import COLORS
from mmirstd.visualization.detections import _columns

OUTLINE = (0, 235, 120)


def has(picture, color):
    return int((picture == np.array(color, np.uint8)).all(-1).sum())


def panels(picture, number, size=512, gap=12):
    return [picture[:, gap + i * (size + gap) : gap + i * (size + gap) + size] for i in range(number)]


def scene(shape=(64, 64), places=((20, 30),), seed=0):
    """A 16-bit image and its mask with 2 x 2 targets."""
    rng = np.random.default_rng(seed)
    image, mask = rng.normal(3000, 40, shape), np.zeros(shape, np.uint8)
    for row, col in places:
        mask[row : row + 2, col : col + 2] = 1
    image[mask == 1] += 900
    return image.astype(np.uint16), mask


def sample(gt=None, pred=None, prob=None):
    data = SegDataSample()
    if gt is not None:
        data.gt_sem_seg = PixelData(data=torch.from_numpy(gt)[None].long())
    if pred is not None:
        data.pred_sem_seg = PixelData(data=torch.from_numpy(pred)[None].float())
    if prob is not None:
        data.seg_logits = PixelData(data=torch.from_numpy(prob)[None].float())
    return data


def test_colors_say_what_was_found():
    image, gt = scene(places=((10, 10), (40, 20)))
    hit, alarm = scene(places=((10, 11),))[1], scene(places=((50, 50),))[1]
    expected = {'detected': (gt, hit), 'missed': (gt, hit), 'false': (gt, hit | alarm)}
    for kind, (truth, pred) in expected.items():
        assert has(draw_detections(image, truth, pred), COLORS[kind]) > 500
    perfect = draw_detections(image, gt, gt)
    legend = 200  # the squares in the caption
    assert has(perfect, COLORS['missed']) < legend > has(perfect, COLORS['false'])
    blind = draw_detections(image, gt, np.zeros_like(gt))
    assert has(blind, COLORS['detected']) < legend > has(blind, COLORS['false'])
    empty = draw_detections(image, np.zeros_like(gt), np.zeros_like(gt))
    assert max(has(empty, COLORS[kind]) for kind in ('detected', 'missed', 'false')) < legend


def test_boxes_stand_around_their_targets():
    image, gt = scene((256, 256), ((40, 60),))
    picture = draw_detections(image, gt, gt)
    top = picture.shape[0] - 512 - 12 - round(17 * 1.6)  # the view of a target in the upper half stands above
    for panel in panels(picture, 3):
        mask = (panel[top : top + 512] == np.array(COLORS['detected'], np.uint8)).all(-1)
        mask[: mask.shape[0] // 16] = False  # the line
        rows, cols = np.nonzero(mask[70:])
        assert rows.min() + 70 < 80 < 84 < rows.max() + 70
        assert cols.min() < 120 < 124 < cols.max()
        assert np.ptp(rows) < 30 > np.ptp(cols)


def test_lines_and_views_hide_no_target():
    rng = np.random.default_rng(3)
    image, gt = scene((256, 256), rng.integers(5, 250, (30, 2)))
    pred = np.roll(gt, 1, 1)
    pred[:, :128] = 0
    picture = draw_detections(image, gt, pred)
    white = np.array((255, 255, 255), np.uint8)
    strip = round((512 - 3 * 12) / 4) + 12
    top = 12 + round(17 * 1.6) + strip
    for panel, mask in zip(panels(picture, 3)[1:], (gt, pred), strict=True):
        shown = panel[top : top + 512][1::2, 1::2]
        visible = (shown == white).all(-1)
        inner = cv2.erode(mask, np.ones((2, 2), np.uint8), anchor=(0, 0)) == 1
        assert (visible[inner]).mean() > 0.95  # boxes of neighbors may touch
        assert not (visible & (mask == 0)).any()


def test_magnified_views_outline_the_mask():
    image, gt = scene()
    pred = np.zeros_like(gt)
    shown, truth, prediction = panels(draw_detections(image, gt, pred), 3)
    body = slice(0, -40)  # without the caption
    assert has(shown[body], OUTLINE) == has(prediction[body], OUTLINE) == 0
    assert has(truth[body], OUTLINE) > 100
    assert has(panels(draw_detections(image, gt, gt), 3)[2][body], OUTLINE) > 100


@pytest.mark.parametrize('number', [0, 1, 2, 4, 5, 8, 30, 400])
@pytest.mark.parametrize('shape', [(64, 64), (400, 592), (592, 60), (7, 300), (1, 1), (600, 1)])
def test_any_size_and_number_of_targets(shape, number):
    rng = np.random.default_rng(number)
    places = np.stack([rng.integers(0, shape[0], number), rng.integers(0, shape[1], number)], 1)
    image, gt = scene(shape, places)
    pred = np.roll(gt, rng.integers(-4, 5, 2), (0, 1))
    picture = draw_detections(image, gt, pred, name='name')
    assert picture.dtype == np.uint8
    assert picture.ndim == 3
    assert picture.shape[0] >= 512 * shape[0] // max(shape)
    assert picture.shape[1] >= 3 * 512 * shape[1] // max(shape)


def test_one_or_two_panels():
    image, gt = scene((256, 256))
    gt[:, -8:] = 255
    assert draw_detections(image).shape[1] == 512 + 24
    for options in ({'gt': gt}, {'pred': gt == 1}):
        picture = draw_detections(image, **options)
        assert picture.shape[1] == 2 * 524 + 12
        assert has(picture, COLORS['target']) > 500
        assert has(picture, COLORS['detected']) == 0
    assert has(panels(draw_detections(image, gt), 2)[1], (90, 90, 90)) > 4000  # ignored


def test_the_probability_map_stands_beside_the_mask():
    image, gt = scene()
    probability = np.where(gt, 0.6, 0.2)
    picture = draw_detections(image, pred=gt, probability=probability)
    shown, levels, mask = panels(picture, 3)
    assert has(levels, (51, 51, 51)) > 200_000
    assert has(levels, (153, 153, 153)) > 2 * has(mask, (153, 153, 153))  # the target, also magnified; not stretched
    assert has(levels, OUTLINE) == 0 < has(mask, OUTLINE)
    two = draw_detections(image, pred=gt)
    np.testing.assert_array_equal(panels(two, 2)[0], shown)
    np.testing.assert_array_equal(panels(two, 2)[1][100:500], mask[100:500])
    with pytest.raises(ValueError, match=r'n: the probability map is \(2, 2\), the image \(64, 64\)'):
        draw_detections(image, probability=np.zeros((2, 2)), name='n')
    with pytest.raises(ValueError, match=r'n: probabilities must lie in \[0, 1\], got \[0.2, 1.5\]'):
        draw_detections(image, probability=np.where(gt, 1.5, 0.2), name='n')


def test_parameters():
    image, gt = scene((256, 256), ((40, 60), (90, 200)))
    pred = np.roll(gt, 5, 1)
    assert has(draw_detections(image, gt, pred), COLORS['missed']) > 500
    assert has(draw_detections(image, gt, pred, distance=6), COLORS['missed']) < 200
    assert has(draw_detections(image, gt, gt, max_insets=0), OUTLINE) == 0
    assert draw_detections(image, gt, gt, panel_size=256, max_insets=16).shape[1] < 1000
    np.testing.assert_array_equal(draw_detections(image, gt, np.where(gt, 0.6, 0.4)), draw_detections(image, gt, gt))
    for options in ({'panel_size': 100}, {'max_insets': 17}, {'max_insets': -1}):
        with pytest.raises(ValueError, match='panel_size >= 256 and 0 <= max_insets <= 16'):
            draw_detections(image, gt, gt, **options)
    with pytest.raises(ValueError, match=r'some: the prediction is \(10, 10\), the image \(256, 256\)'):
        draw_detections(image, gt, np.zeros((10, 10), bool), name='some')


def test_views_stand_in_their_column_without_overlap_or_crossing():
    rng = np.random.default_rng(0)
    for _ in range(300):
        number, size, left, width = rng.integers(1, 5), 100, 50, 512
        ends = [tuple(end) for end in rng.integers((50, 100), (562, 600), (number, 2)).tolist()]
        places = _columns(ends, 700, left, size, width)
        assert left <= min(places) <= max(places) <= left + width - size
        assert (np.diff(sorted(places)) >= size + 12).all()
        lines = [((x + size / 2, 700), end) for x, end in zip(places, ends, strict=True)]
        assert not any(crossing(a, b) for i, a in enumerate(lines) for b in lines[:i])


def crossing(first, second):
    def side(line, point):
        (x0, y0), (x1, y1) = line
        return np.sign((x1 - x0) * (point[1] - y0) - (y1 - y0) * (point[0] - x0))

    return side(first, second[0]) * side(first, second[1]) < 0 > side(second, first[0]) * side(second, first[1])


@pytest.mark.parametrize('dtype', [np.uint8, np.uint16, np.int32, np.float32, np.float64])
@pytest.mark.parametrize('shape', [(9, 7), (9, 7, 1), (9, 7, 3)])
def test_to_display(dtype, shape):
    image = np.linspace(10, 200, np.prod(shape)).reshape(shape).astype(dtype)
    shown = to_display(image)
    assert shown.shape == (9, 7, 3)
    assert shown.dtype == np.uint8
    if dtype == np.uint8:
        np.testing.assert_array_equal(shown, np.broadcast_to(image.reshape(9, 7, -1), (9, 7, 3)))
    else:
        assert (shown.min(), shown.max()) == (0, 255)


def test_to_display_of_odd_values():
    image = np.array([[np.nan, 1, 2, np.inf]])
    assert to_display(image)[0, :, 0].tolist() == [0, 0, 255, 0]
    assert to_display(np.full((2, 2), np.nan)).max() == 0
    assert to_display(np.full((2, 2), 7.0)).max() == 0
    for shape in ((3,), (4, 4, 2), (0, 4)):
        with pytest.raises(ValueError, match='an image must be'):
            to_display(np.zeros(shape))


def test_visualizer_writes_to_a_file_and_to_backends(tmp_path):
    image, gt = scene()
    visualizer = VISUALIZERS.build(
        {
            'type': 'mmirstd.IRSTDVisualizer',
            'name': 'written',
            'vis_backends': [{'type': 'LocalVisBackend'}, {'type': 'TensorboardVisBackend'}],
            'save_dir': str(tmp_path),
        }
    )
    assert isinstance(visualizer, IRSTDVisualizer)
    data = sample(gt, gt)
    expected = draw_detections(image, gt, gt, name='name')
    visualizer.add_datasample('name', image, data, out_file=str(tmp_path / 'some' / 'picture.png'))
    np.testing.assert_array_equal(cv2.imread(str(tmp_path / 'some' / 'picture.png'))[..., ::-1], expected)
    assert not list(tmp_path.glob('vis_data/vis_image/*'))
    visualizer.add_datasample('name', image, data, step=3)
    written = cv2.imread(str(tmp_path / 'vis_data/vis_image/name_3.png'))[..., ::-1]
    np.testing.assert_array_equal(written, expected)
    visualizer.close()
    (events,) = tmp_path.glob('vis_data/events.out*')
    assert b'name' in events.read_bytes()
    assert events.stat().st_size > 10_000


def test_visualizer_draws_what_it_is_asked_for(tmp_path, monkeypatch):
    image, gt = scene()
    pred = np.roll(gt, 1, 0)
    prob = np.where(pred, 0.4, 0.1)
    visualizer = IRSTDVisualizer(distance=2.0)
    drawn = []
    monkeypatch.setattr(visualizer, 'add_image', lambda name, picture, step: drawn.append((name, picture, step)))

    def draw(visualizer=visualizer, **options):
        visualizer.add_datasample('n', image, step=5, **options)
        name, picture, step = drawn.pop()
        assert (name, step) == ('n', 5)
        return picture

    data = sample(gt, pred, prob)
    full = draw_detections(image, gt, pred, distance=2.0, name='n')
    np.testing.assert_array_equal(draw(data_sample=data, with_labels=True), full)
    np.testing.assert_array_equal(draw(), draw_detections(image, name='n'))
    np.testing.assert_array_equal(draw(data_sample=data, draw_gt=False), draw_detections(image, pred=pred, name='n'))
    np.testing.assert_array_equal(draw(data_sample=data, draw_pred=False), draw_detections(image, gt, name='n'))
    np.testing.assert_array_equal(draw(data_sample=sample(gt)), draw_detections(image, gt, name='n'))

    monkeypatch.setattr(IRSTDVisualizer, 'add_image', lambda self, *args: drawn.append(args))
    np.testing.assert_array_equal(
        draw(IRSTDVisualizer(threshold=0.3, distance=2.0), data_sample=sample(gt, gt, prob)), full
    )
    np.testing.assert_array_equal(
        draw(IRSTDVisualizer(threshold=0.3), data_sample=sample(gt)), draw_detections(image, gt, name='n')
    )
    three = sample(gt)
    three.seg_logits = PixelData(data=torch.zeros(3, 64, 64))
    with pytest.raises(ValueError, match='n: target probabilities need seg_logits of one or two channels'):
        draw(IRSTDVisualizer(threshold=0.3), data_sample=three)


def test_visualizer_shows_a_window_and_keeps_the_picture(monkeypatch):
    image, gt = scene()
    shown = []
    monkeypatch.setattr(
        IRSTDVisualizer, 'show', lambda self, picture, win_name, wait_time: shown.append((win_name, wait_time, picture))
    )
    visualizer = IRSTDVisualizer()
    visualizer.add_datasample('n', image, sample(gt, gt), show=True, wait_time=2)
    ((name, wait, picture),) = shown
    assert (name, wait) == ('n', 2)
    np.testing.assert_array_equal(visualizer.get_image(), picture)


@pytest.mark.parametrize('name', ['NUAA-SIRST', 'NUDT-SIRST', 'IRSTD-1k'])
def test_real_images(real_data, name):
    masks = sorted((real_data / name).rglob('*abel/*.png' if name == 'IRSTD-1k' else 'masks/*.png'))[:3]
    assert masks
    for path in masks:
        folder = {'masks': 'images', 'IRSTD1k_Label': 'IRSTD1k_Img'}[path.parent.name]
        image = cv2.imread(str(path.parent.parent / folder / path.name.replace('_pixels0', '')), cv2.IMREAD_COLOR_RGB)
        gt = (cv2.imread(str(path), cv2.IMREAD_GRAYSCALE) > 127).astype(np.uint8)
        picture = draw_detections(image, gt, gt, name=path.stem)
        assert has(picture, COLORS['detected']) > 500


def test_tensorboard_is_used_only_where_it_is(tmp_path, monkeypatch):
    said = []
    monkeypatch.setattr('mmirstd.visualization.tensorboard.print_log', lambda text, **_: said.append(text))
    backends = [{'type': 'mmirstd.OptionalTensorboardVisBackend'}]
    config = {'type': 'mmirstd.IRSTDVisualizer', 'vis_backends': backends}

    def write(name):
        visualizer = VISUALIZERS.build(config | {'name': name, 'save_dir': str(tmp_path / name)})
        visualizer.add_scalars({'loss': 1.0, 'lr': torch.tensor(0.5)}, step=1)
        visualizer.add_image('i', np.zeros((4, 4, 3), np.uint8))
        visualizer.add_config(Config({'a': 1}))
        visualizer.close()
        return list((tmp_path / name).rglob('events.out*'))

    assert len(write('with')) == 1
    monkeypatch.setitem(sys.modules, 'torch.utils.tensorboard', None)
    assert said == []
    assert write('without') == []
    assert said == ['no curves for TensorBoard, which is not installed (pip install tensorboard)']
