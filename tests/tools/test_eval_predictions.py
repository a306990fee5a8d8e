"""Evaluating folders of predictions for real, and what `mmirstd test` adds to it."""

import csv
import json
import math
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mmirstd.apis import evaluate_predictions
from mmirstd.apis.evaluate import load_split
from mmirstd.cli import main
from mmirstd.evaluation import compute_metrics, image_counts, protocol_counts, sum_counts
from mmirstd.evaluation.analysis.predictions import read_prediction
from mmirstd.evaluation.functional.intervals import bootstrap_intervals
from mmirstd.evaluation.functional.protocols import PRESETS, get_protocol, get_protocols
from mmirstd.io.ids import digest

IDS = [f'Misc_{i}' for i in range(6)]


@pytest.fixture
def score(monkeypatch, data):
    """Run the command in the folder of the data; returns the line it exits with, or None."""

    def run(*arguments, pred='pred', mask='masks'):
        try:
            return main(['eval', pred, mask, '--workers', '0', *arguments])
        except SystemExit as e:
            return e.code

    monkeypatch.chdir(data)
    return run


def probabilities(i, shape=(40, 48)):
    """Targets of image i: found, missed, moved or false; the last image is empty."""
    rng = np.random.default_rng(i)
    mask = np.zeros(shape, np.uint8)
    found = (0.3 * rng.random(shape)).astype(np.float32)
    for k in range(i % 3 if i < 5 else 0):
        row, col = 5 + 12 * k, 6 + 9 * i % 30
        mask[row : row + 3, col : col + 4] = 255 if i % 2 else 200
        found[row + 4 * k : row + 4 * k + 3, col : col + 4] = 0.9
    found[35:37, 40:42] = 0.2 + 0.1 * i
    return found, mask


@pytest.fixture(scope='module')
def made(tmp_path_factory):
    """Folders pred (npz), png, masks and images."""
    root = tmp_path_factory.mktemp('sets')
    for name in ('pred', 'masks', 'images', 'png'):
        (root / name).mkdir()
    for i, img_id in enumerate(IDS):
        found, mask = probabilities(i)
        np.savez(root / f'pred/{img_id}.npz', found)
        Image.fromarray((found > 0.5).astype(np.uint8) * 255).save(root / f'png/{img_id}_pred.png')
        Image.fromarray(mask).save(root / f'masks/{img_id}_pixels0.png')
        gray = (60 + 100 * (mask > 0) + 20 * np.random.default_rng(i).random(mask.shape)).astype(np.uint8)
        Image.fromarray(np.dstack([gray] * 3)).save(root / f'images/{img_id}.bmp')
    (root / 'test.txt').write_text('Misc_4\nMisc_1\nMisc_0')
    return root


@pytest.fixture
def data(made, tmp_path):
    return Path(shutil.copytree(made, tmp_path / 'sets'))


def expected(protocol, ids=IDS):
    counts = [protocol_counts(*probabilities(IDS.index(i)), [protocol])[0] for i in ids]
    return compute_metrics(sum_counts(counts), protocol), counts


def by_name(path):
    return {p['name']: p for p in json.loads(Path(path).read_text())['protocols']}


def read_csv(path):
    return list(csv.DictReader(Path(path).read_text().splitlines()))


def same(found, metrics):
    assert found.keys() == metrics.keys()
    for name, value in metrics.items():
        assert found[name] == (None if math.isnan(value) else value), name


def test_all_presets(score, capfd, monkeypatch):
    monkeypatch.setattr(sys.stderr, 'isatty', lambda: True, raising=False)
    assert score('--preset', 'all', '--json', 'out/all.json') is None
    out, err = capfd.readouterr()
    assert 'scoring:   0%' in err
    assert '0/6' in err
    assert [line.split('|')[1].strip() for line in out.splitlines() if line.startswith('|')] == ['protocol', *PRESETS]
    found = by_name('out/all.json')
    assert list(found) == list(PRESETS)
    for name, protocol in PRESETS.items():
        same(found[name]['metrics'], expected(protocol)[0])
    # Targets of value 200 count for some, as in the codes.
    assert found['exact']['counts']['targets'] > found['dnanet']['counts']['targets']
    plain = compute_metrics(sum_counts(image_counts(p, m >= 128) for p, m in map(probabilities, range(6))))
    same(found['exact']['metrics'], plain)


def test_the_report_records_what_it_is_of(score):
    assert (
        score('--split', 'test.txt', '--preset', 'exact', 'acm', '--out', 'out', '--bootstrap', '50', '--seed', '3')
        is None
    )
    assert sorted(p.name for p in Path('out').iterdir()) == [
        'images.csv',
        'metrics.csv',
        'report.json',
        'report.md',
        'targets.csv',
    ]
    report = json.loads(Path('out/report.json').read_text())
    ids = ['Misc_4', 'Misc_1', 'Misc_0']
    assert report['split'] == {'name': 'test.txt', 'num': 3, 'sha256': digest(ids)}
    assert report['evaluated'] == {'num': 3, 'sha256': digest(ids)}
    assert report['unlisted'] == 3
    assert report['bootstrap'] == {'level': 0.95, 'resamples': 50, 'seed': 3}
    assert report['versions']['numpy'] == np.__version__
    assert report['command'].startswith('mmirstd eval pred masks --workers 0 --split test.txt --preset')
    metrics, counts = expected(PRESETS['acm'], ids)
    same(report['protocols'][1]['metrics'], metrics)
    assert report['protocols'][1]['settings']['threshold'] == 0.5
    bounds = bootstrap_intervals(counts, PRESETS['acm'], resamples=50, seed=3)
    assert report['protocols'][1]['intervals']['IoU'] == list(bounds['IoU'])
    assert [row['img_id'] for row in read_csv('out/images.csv')] == ids
    text = Path('out/report.md').read_text()
    assert f'3 images of test.txt, sha256 of the ids {digest(ids)}.' in text
    assert '95% intervals from 50 resamples' in text
    assert len(read_csv('out/targets.csv')) == report['protocols'][0]['counts']['targets']


def test_from_python(data):
    evaluation = evaluate_predictions(
        data / 'pred',
        data / 'masks',
        presets='all',
        settings={'threshold': 0.3},
        img_dir=str(data / 'images'),
        breakdown=True,
        thresholds=9,
        resamples=20,
        workers=0,
    )
    assert list(evaluation.metrics) == [f'{name}(threshold=0.3)' for name in PRESETS]
    protocol = get_protocol('dnanet', threshold=0.3)
    same(evaluation.metrics['dnanet(threshold=0.3)'], expected(protocol)[0])
    records = sum_counts(record.counts for record in evaluation.records)
    assert compute_metrics(records) == evaluation.metrics['exact(threshold=0.3)']
    components = evaluation.sweeps[1].counts
    assert (components.images, components.targets) == (6, records.targets)
    assert set(evaluation.report) >= {'split', 'protocols', 'breakdown', 'curves'}
    assert 'Targets by signal-to-clutter ratio' in str(evaluation)
    assert sorted(p.name for p in data.iterdir()) == ['images', 'masks', 'png', 'pred', 'test.txt']


def test_settings_change_presets(score):
    assert score('--preset', 'acm', '--set', 'threshold=0.25', 'size=96', '--json', 'a.json') is None
    (found,) = by_name('a.json').values()
    assert found['name'] == 'acm(threshold=0.25, size=96)'
    same(found['metrics'], expected(get_protocol(dict(preset='acm', threshold=0.25, size=96)))[0])
    assert "a protocol has no field 'treshold'" in score('--set', 'treshold=0.25')
    assert 'threshold must be a number in [0, 1), not 2' in score('--set', 'threshold=2')
    assert "two protocols are called 'x'" in score('--preset', 'acm', 'dnanet', '--set', 'name=x')


def test_workers_change_nothing(score):
    assert score('--preset', 'all', '--json', 'one.json') is None
    main(['eval', 'pred', 'masks', '--preset', 'all', '--json', 'two.json', '--workers', '2'])
    one, two = by_name('one.json'), by_name('two.json')
    assert one == two


def test_masks_of_png_files(score):
    assert score('--preset', 'basicirstd', '--json', 'png.json', pred='png') is None
    assert score('--preset', 'basicirstd', '--json', 'npz.json') is None
    assert by_name('png.json') == by_name('npz.json')  # native, at one threshold: what is positive decides


def test_labels(score, capfd):
    for path in Path('png').iterdir():
        Image.fromarray(np.array(Image.open(path)) // 255).save(path)
    for i, options in enumerate(((), ('--labels', 'yes'), ('--labels', 'no'))):
        assert score('--json', f'{i}.json', *options, pred='png') is None
    want = expected(PRESETS['exact'])[0]
    for i in range(2):
        same(by_name(f'{i}.json')['exact']['metrics'], want)
        assert json.loads(Path(f'{i}.json').read_text())['values'] == 'images with labels 0 and 1'
    assert by_name('2.json')['exact']['metrics']['Pd'] == 0


def test_breakdown_curves_and_worst_images(score, capfd):
    more = (
        '--images',
        'images',
        '--breakdown',
        '--curves',
        '--thresholds',
        '9',
        '--worst',
        '2',
        '--worst-by',
        'missed',
    )
    assert score('--out', 'out', *more) is None
    out = capfd.readouterr().out
    assert 'Targets by signal-to-clutter ratio:' in out
    assert 'average precision' in out
    for name in ('roc.png', 'pr.png', 'pd_fa.png'):
        assert min(Image.open(f'out/{name}').size) > 300
    report = json.loads(Path('out/report.json').read_text())
    assert report['worst']['by'] == 'missed'
    assert report['worst']['pictures'] == [f'worst/{i:03d}_{k}.png' for i, k in enumerate(report['worst']['images'], 1)]
    assert {p.name for p in Path('out/worst').iterdir()} == {Path(p).name for p in report['worst']['pictures']}
    assert '](' not in out  # links are for the report
    text = Path('out/report.md').read_text()
    for linked in [*report['worst']['pictures'], 'roc.png']:
        assert f']({linked})' in text
    half = next(row for row in read_csv('out/components_pred.csv') if row['threshold'] == '0.5')
    want = expected(PRESETS['exact'])[0]
    assert float(half['IoU']) == want['IoU']
    assert float(half['Fa']) == want['Fa']
    targets = read_csv('out/targets.csv')
    assert all(float(t['scr']) > 1 for t in targets)
    assert sum(int(t['detected'] == 'True') for t in targets) / len(targets) == want['Pd']


def test_without_faults_no_image_is_the_worst(score):
    shutil.copytree('masks', 'copies')
    assert score('--worst', '3', '--out', 'out', pred='copies') is None
    assert '## Worst images by IoU\n\nNo image is at fault.\n' in Path('out/report.md').read_text()
    assert json.loads(Path('out/report.json').read_text())['worst']['images'] == []


def test_without_images_the_map_is_shown(score):
    assert score('--out', 'out', '--worst', '1', '--breakdown') is None
    assert len(list(Path('out/worst').iterdir())) == 1
    assert list(json.loads(Path('out/report.json').read_text())['breakdown']) == [
        'Targets by area in pixels',
        'Targets by pixels to the border',
        'False components by area in pixels',
        'False components by pixels to the border',
    ]


def test_misfits_are_listed_and_refused(score, capfd):
    Path('pred/Misc_2.npz').unlink()
    np.savez('pred/other.npz', np.zeros((4, 4)))
    np.savez('pred/Misc_3.npz', probabilities(3)[0][:20, :24])
    error = score()
    assert error.startswith('error: predictions and masks do not fit:')
    assert '1 without a prediction: Misc_2 (--split says what to evaluate, --allow-missing' in error
    assert '1 predictions without a mask: other.npz (--allow-extra leaves them out)' in error
    assert '1 of another size than the mask: Misc_3: Misc_3.npz is 24x20, Misc_3_pixels0.png is 48x40' in error
    error = score('--allow-extra', '--allow-sizes')
    assert 'without a prediction' in error
    assert 'other.npz' not in error
    allow = ('--allow-missing', '--allow-extra', '--allow-sizes')
    assert score(*allow, '--json', 'left_out.json', '--preset', 'exact', 'dnanet') is None
    err = capfd.readouterr().err
    assert '1 without a prediction: Misc_2' in err
    assert '1 predictions without a mask: other.npz' in err
    report = json.loads(Path('left_out.json').read_text())
    assert (report['missing'], report['extra'], list(report['sizes'])) == (['Misc_2'], ['other.npz'], ['Misc_3'])
    assert report['split']['num'] == 6
    assert report['evaluated'] == {'num': 5, 'sha256': digest([i for i in IDS if i != 'Misc_2'])}
    assert report['protocols'][0]['counts']['images'] == 5
    assert score('--missing-as-empty', *allow[1:], '--json', 'empty.json') is None
    counts = by_name('empty.json')['exact']['counts']
    assert counts['images'] == 6
    missed = image_counts(np.zeros((40, 48)), probabilities(2)[1] > 0)
    assert counts['fn'] == by_name('left_out.json')['exact']['counts']['fn'] + missed.fn > 0


def test_predictions_of_another_size_under_a_preset_that_resizes(score):
    """Maps at 256 x 256, as DNANet makes them: the size of the files does not matter there."""
    large = {}
    for i, img_id in enumerate(IDS):
        found, _ = probabilities(i)
        large[img_id] = np.kron(found, np.ones((8, 6), np.float32))[:256, :256]
        np.savez(f'pred/{img_id}.npz', large[img_id])
    assert score('--preset', 'dnanet', '--allow-sizes', '--json', 'a.json') is None
    dnanet = PRESETS['dnanet']
    counts = [protocol_counts(large[i], probabilities(k)[1], [dnanet])[0] for k, i in enumerate(IDS)]
    same(by_name('a.json')['dnanet']['metrics'], compute_metrics(sum_counts(counts), dnanet))


def test_nothing_is_replaced(score):
    assert score('--json', 'a.json') is None
    assert 'a.json exists: choose another place' in score('--json', 'a.json')
    assert score('--json', 'a.json', '--overwrite') is None
    assert score('--out', 'out') is None
    before = Path('out/report.md').stat().st_mtime_ns
    assert 'out exists: choose another place, or allow replacing with --overwrite' in score('--out', 'out')
    assert Path('out/report.md').stat().st_mtime_ns == before
    assert score('--out', 'out', '--overwrite') is None


@pytest.mark.parametrize(
    ('arguments', 'line'),
    [
        (('--split', 'nope.txt'), 'there is no split nope.txt'),
        (('--images', 'nope'), 'there is no folder nope'),
        (('--pred-suffix', '_x'), "whose names end in '_x'"),
        (('--worst', '3'), '--worst (worst=) needs --out (out=), a folder to write to'),
        (('--set', 'threshold'), '--set threshold: expected KEY=VALUE'),
        (('--workers', '-1'), 2),
        (('--preset', 'nope'), "there is no preset 'nope'; there are exact, acm"),
        (('--allow-missing', '--missing-as-empty'), 2),
    ],
)
def test_mistakes_get_one_line(score, arguments, line, capfd):
    error = score(*arguments)
    if line == 2:
        assert error == 2
        assert 'error: ' in capfd.readouterr().err
    else:
        assert line in error
        assert '\n' not in error


def test_a_bad_file_is_named(score):
    np.savez('pred/Misc_4.npz', np.full((40, 48), 3.0))
    error = score()
    assert error == 'error: pred/Misc_4.npz: probabilities must lie in [0, 1], got [3.0, 3.0]; are these logits?'
    Path('pred/Misc_4.npz').write_bytes(b'nothing')
    assert 'pred/Misc_4.npz' in score()


def test_a_list_without_predictions(score):
    for i in (0, 1, 4):
        Path(f'pred/Misc_{i}.npz').unlink()
    assert score('--split', 'test.txt', '--allow-missing') == 'error: pred holds no prediction of test.txt'


# tools/test.py


@pytest.fixture
def test_tool(call, tiny_config):
    """Train the tiny config for no step, and return a function that tests it."""
    config = tiny_config()

    assert call('train', config, '--work-dir', 'run', '--cfg-options', 'train_cfg.max_iters=3') is None
    return lambda *more: call('test', config, 'run/iter_3.pth', '--work-dir', 'run/test', *more)


def test_presets_and_saved_predictions(test_tool, tiny_data, capfd):
    assert test_tool('--preset', 'all', '--out', 'png') is None
    out = capfd.readouterr().out
    assert out.rstrip().endswith('out:      png')
    rows = [line.split('|')[1].strip() for line in out.splitlines() if line.startswith('|')]
    assert rows == ['protocol', *PRESETS]
    assert 'dnanet/IoU: ' in out
    assert sorted(p.name for p in Path('png').iterdir()) == [f'{i}.png' for i in range(5)]
    assert test_tool('--out', 'npz', '--out-format', 'npz', '--preset', 'dnanet', 'exact') is None
    out = capfd.readouterr().out
    logged = [line for line in out.splitlines() if line.startswith('|')]
    assert [line.split('|')[1].strip() for line in logged] == ['protocol', 'dnanet', 'exact']
    # What was saved is what was evaluated.
    main(['eval', 'npz', str(tiny_data / 'masks'), '--preset', 'dnanet', 'exact', '--workers', '0'])
    assert [line for line in capfd.readouterr().out.splitlines() if line.startswith('|')] == logged
    for i in range(5):
        values, exact = read_prediction(Path(f'png/{i}.png')), read_prediction(Path(f'npz/{i}.npz'))
        assert exact.dtype == np.float32
        np.testing.assert_array_equal(values > 0.5, exact > 0.5)
        np.testing.assert_allclose(values, exact, atol=0.5 / 255 + 1e-6)

    Path('png/3.png').write_bytes(b'mine')
    refusal = test_tool('--out', 'png')
    assert refusal.startswith(
        'error: png/0.png, png/1.png, png/2.png, png/3.png, png/4.png exist: choose another place'
    )
    assert Path('png/3.png').read_bytes() == b'mine'


def test_presets_need_the_metric(test_tool):
    assert test_tool('--preset', 'nope') == 2
    error = test_tool('--preset', 'acm', '--cfg-options', 'test_evaluator.type=IoUMetric')
    assert error == 'error: --preset: the test_evaluator of the config has no mmirstd.IRSTDMetric'


def test_all_protocols_are_covered():
    assert [p.name for p in get_protocols('all')] == list(PRESETS)


def test_published_masks_score_themselves(real_data, tmp_path, monkeypatch):
    """Real names and files: what the masks of NUAA-SIRST say of themselves, Misc_111's of another size included."""
    monkeypatch.chdir(tmp_path)
    masks = str(real_data / 'NUAA-SIRST/masks')
    options = ('--preset', 'exact', 'sctransnet', 'basicirstd', '--split', 'NUAA-SIRST idx_427/test', '--workers', '0')
    suffixes = ('--pred-suffix', '_pixels0', '--mask-suffix', '')
    with pytest.raises(SystemExit, match='86 of 86 ids have no mask'):
        main(['eval', masks, masks, *options, *suffixes])
    main(['eval', masks, str(shutil.copytree(masks, 'copy')), *options, '--json', 'a.json'])
    report = json.loads(Path('a.json').read_text())
    name, ids = load_split('NUAA-SIRST idx_427/test')
    assert report['split'] == {'name': name, 'num': 86, 'sha256': digest(ids)}
    for found in report['protocols']:
        assert found['metrics']['IoU'] == pytest.approx(1, abs=1e-12)
        assert (found['metrics']['Pd'], found['metrics']['Fa']) == (1, 0)
