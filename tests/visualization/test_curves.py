import csv
import io
import math

import numpy as np
import pytest
from PIL import Image

from mmirstd.evaluation.functional.sweeps import component_sweep, pixel_sweep, sum_sweeps
from mmirstd.evaluation.functional.thresholds import sweep_thresholds
from mmirstd.visualization.curves import (
    _bent,
    _style,
    component_csv,
    draw_pd_fa,
    draw_pr,
    draw_roc,
    pixel_csv,
    save_curves,
)


def sweeps(seed=0, noise=0.3):
    rng = np.random.default_rng(seed)
    thresholds = sweep_thresholds(19)
    pixels, components = [], []
    for _ in range(5):
        gt = np.zeros((32, 32), bool)
        row, col = rng.integers(2, 28, 2)
        gt[row : row + 3, col : col + 3] = True
        p = np.clip(gt * rng.random((32, 32)) + rng.random((32, 32)) ** 9 * noise, 0, 1)
        pixels.append(pixel_sweep(p, gt, thresholds))
        components.append(component_sweep(p, gt, thresholds))
    return sum_sweeps(pixels), sum_sweeps(components)


def colors(picture, rgb):
    return (np.abs(picture.astype(int) - rgb) < 12).all(-1).sum()


BLUE, ORANGE = (31, 119, 180), (255, 127, 14)


@pytest.mark.parametrize(('draw', 'kind'), [(draw_roc, 0), (draw_pr, 0), (draw_pd_fa, 1)])
def test_every_curve_is_drawn(draw, kind):
    one, two = sweeps()[kind], sweeps(1, 1)[kind]
    alone, both = draw({'a': one}, 'A'), draw({'a': one, 'b': two}, 'A')
    for picture in (alone, both):
        assert picture.dtype == np.uint8
        assert picture.shape == (576, 768, 3)
        assert colors(picture, BLUE) > 150
    assert colors(alone, ORANGE) == 0
    assert colors(both, ORANGE) > 150
    np.testing.assert_array_equal(alone, draw({'a': one}, 'A'))
    with pytest.raises(ValueError, match='no curve'):
        draw({})


def test_what_is_undefined_is_still_drawn():
    p = np.random.default_rng(0).random((16, 16))
    for truth in (np.zeros((16, 16), bool), np.ones((16, 16), bool)):
        pixels, components = (sweep(p, truth, [0.3, 0.5]) for sweep in (pixel_sweep, component_sweep))
        for picture in (draw_roc({'a': pixels}), draw_pr({'a': pixels}), draw_pd_fa({'a': components})):
            assert np.ptp(picture) > 100


def test_straight_lines_are_bent_for_the_logarithmic_axis():
    curve = sweeps()[0].roc()
    bent = _bent(curve, 1e-4)
    assert (np.diff(bent.x) >= 0).all()
    inside = bent.x > curve.x[curve.x > 0].min() / 1e3
    kept = bent.thresholds[~np.isnan(bent.thresholds)]
    assert kept.tolist() == curve.thresholds.tolist()
    between = np.isnan(bent.thresholds) & inside
    assert between.sum() > 20
    np.testing.assert_allclose(bent.y[between], np.interp(bent.x[between], curve.x, curve.y), rtol=1e-9)


def read(content):
    return list(csv.DictReader(io.StringIO(content.decode())))


def test_tables_hold_all_digits():
    pixels, components = sweeps()
    rows = read(pixel_csv(pixels))
    assert [float(r['threshold']) for r in rows] == pixels.thresholds.tolist()
    assert [int(r['tp']) for r in rows] == pixels.tp.tolist()
    assert all(sum(int(r[n]) for n in ('tp', 'fp', 'fn', 'tn')) == 5 * 32 * 32 for r in rows)
    metrics = pixels.metrics()
    for name, values in metrics.items():
        np.testing.assert_array_equal([float(r[name] or 'nan') for r in rows], values)
    rows = read(component_csv(components, empty=0))
    assert [int(r['detected']) for r in rows] == components.counts.detected.tolist()
    assert {r['targets'] for r in rows} == {'5'}
    for name, values in components.metrics(empty=0).items():
        np.testing.assert_array_equal([float(r[name] or 'nan') for r in rows], values)
    silent = pixel_sweep(np.zeros((2, 2)), np.zeros((2, 2), bool), [0.5])
    assert read(pixel_csv(silent))[0]['precision'] == ''
    assert math.isnan(silent.metrics()['precision'][0])


def test_files(tmp_path):
    pixels, components = sweeps()
    folder = tmp_path / 'new' / 'curves'
    written = save_curves(folder, {'exact': pixels}, {'exact': components, 'other': components}, title='A set')
    assert sorted(p.name for p in written) == sorted(p.name for p in folder.iterdir())
    assert sorted(p.name for p in written) == [
        'components_exact.csv',
        'components_other.csv',
        'pd_fa.png',
        'pixels_exact.csv',
        'pr.png',
        'roc.png',
    ]
    np.testing.assert_array_equal(np.asarray(Image.open(folder / 'roc.png')), draw_roc({'exact': pixels}, 'A set'))
    assert (folder / 'pixels_exact.csv').read_bytes() == pixel_csv(pixels)


def test_nothing_is_overwritten(tmp_path):
    pixels, components = sweeps()
    (tmp_path / 'pd_fa.png').write_bytes(b'mine')
    with pytest.raises(FileExistsError, match=r'pd_fa\.png'):
        save_curves(tmp_path, {'a': pixels}, {'a': components})
    assert [p.name for p in tmp_path.iterdir()] == ['pd_fa.png']
    assert len(save_curves(tmp_path, {'a': pixels}, {})) == 3
    with pytest.raises(ValueError, match="'a/b' cannot"):
        save_curves(tmp_path, {'a/b': pixels}, {})


def test_no_two_of_thirty_curves_look_alike():
    assert len({tuple(_style(i).values()) for i in range(30)}) == 30
