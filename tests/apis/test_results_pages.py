"""Pages, pictures and metafiles from records."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from mmirstd.apis import write_results
from mmirstd.apis.recipe_ablation import VariantResult
from mmirstd.apis.recipe_ablation import write_results as write_variants
from mmirstd.apis.results_cells import Results, TableError
from mmirstd.apis.results_pages import PageError, read_results, render_metafiles, render_pages, sweeps_of
from mmirstd.apis.results_tables import TABLES
from mmirstd.apis.run_records import FORMAT, RecordError, write_record
from mmirstd.evaluation.functional.protocols import PRESETS
from mmirstd.evaluation.functional.sweeps import component_sweep, pixel_sweep
from mmirstd.utils.errors import ArgumentError
from mmirstd.visualization.training_curves import read_curve

ROOT = Path(__file__).resolve().parents[2]
PAGES = ROOT / 'docs/results'
THRESHOLDS = np.array([0.25, 0.5, 0.75])


def record(name='a', dataset='NUDT-SIRST', iou=0.5, *, kind='published', trained_on=('NUDT-SIRST',), **more):
    """A record with made-up numbers."""
    rng = np.random.default_rng(0)
    prediction, mask = rng.random((16, 16)), np.zeros((16, 16), bool)
    mask[4:6, 4:6] = True
    pixels, components = pixel_sweep(prediction, mask, THRESHOLDS), component_sweep(prediction, mask, THRESHOLDS)
    counts = {k: v for k in components.counts.__slots__ if np.any(v := getattr(components.counts, k))}
    metrics = {'IoU': iou, 'nIoU': iou, 'Pd': 0.9, 'Fa': 12.5, 'precision': None, 'recall': 0.5, 'F1': 0.7}
    protocols = [
        {'name': p, 'reported': list(PRESETS[p].reported), 'metrics': metrics | {'IoU': iou + i / 100},
         'intervals': {'IoU': [iou - 0.1, iou + 0.1]}}
        for i, p in enumerate(PRESETS)
    ]  # fmt: skip
    return {
        'format': FORMAT, 'name': f'{kind}_{name}_on_{dataset}', 'model': 'acm-unet', 'config': 'acm-unet_nudt',
        'config_sha256': '0', 'dataset': dataset, 'split': {'name': 'basicirstd/test', 'num': 7, 'sha256': '1'},
        'weights': {'kind': kind, 'name': name, 'trained_on': [{'dataset': d} for d in trained_on], 'sha256': '2'},
        'budget': None, 'options': {}, 'command': 'mmirstd reproduce', 'versions': {}, 'hardware': {'cpu': 'AMD'},
        'training': None, 'testing': {}, 'costs': {'size': 256, 'params': 398_000, 'macs': 343_000_000},
        'protocols': protocols,
        'curves': {'thresholds': THRESHOLDS, 'target_bins': pixels.target_bins,
                   'background_bins': pixels.background_bins, 'counts': counts},
        'faults': {'missed': {'7': 1}, 'false': {}},
    } | more  # fmt: skip


@pytest.fixture
def pages(tmp_path):
    """A folder of pages with two records."""
    (tmp_path / 'pages/records').mkdir(parents=True)
    write_record(tmp_path / 'pages/records/a.json', record(iou=0.6))
    write_record(tmp_path / 'pages/records/b.json', record('b', 'NUAA-SIRST', 0.4))
    return tmp_path / 'pages'


def test_what_is_between_the_markers_is_replaced(pages):
    text = '# Page\n\nProse.\n\n<!-- table: cross-set -->\nold\n<!-- end of table -->\n\nMore prose.\n'
    (pages / 'page.md').write_text(text)
    (pages / 'plain.md').write_text('no marker')
    assert write_results(pages) == [pages / 'page.md']
    written = (pages / 'page.md').read_text()
    assert written.startswith('# Page\n\nProse.\n\n<!-- table: cross-set -->\n\n| weights | trained on |')
    assert written.endswith('|\n\n<!-- end of table -->\n\nMore prose.\n')
    assert 'old' not in written
    assert write_results(pages) == []


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('<!-- table: nothing -->\n<!-- end of table -->', 'there is no table nothing; there are main'),
        ('<!-- table: main -->\n', 'page.md: a line <!-- table: ... --> has no'),
        ('<!-- table: protocols x -->\n<!-- end of table -->', 'table protocols x: there is no record x'),
        ('<!-- table: cross-set a b -->\n<!-- end of table -->', 'table cross-set a b: .*argument'),
        ('<!-- table: main pakaged -->\n<!-- end of table -->', 'table main pakaged: there is no kind pakaged'),
        ('<!-- table: courses * 2h -->\n<!-- end of table -->', r'table courses \* 2h: minutes are whole numbers'),
    ],
)
def test_markers_that_are_not_understood(pages, text, message):
    (pages / 'page.md').write_text(text)
    with pytest.raises(PageError, match=message):
        write_results(pages)


@pytest.mark.parametrize('name', ['benchmark.json', 'costs/a.json', 'records/c.json'])
@pytest.mark.parametrize('content', [b'{"a": [1, 2', b'\xff\xfe'])
def test_a_damaged_file_is_named(pages, name, content):
    (pages / 'costs').mkdir()
    (pages / name).write_bytes(content)
    with pytest.raises(RecordError, match=f'{name} is damaged'):
        write_results(pages)


def test_a_folder_without_records_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match='no folder of pages'):
        write_results(tmp_path / 'x')
    with pytest.raises(FileNotFoundError, match='no folder of records'):
        write_results(tmp_path)


class TestTables:
    def test_seen_sets_are_marked(self, pages):
        table = TABLES['cross-set'](read_results(pages))
        assert '| `a` | NUDT-SIRST | - | *0.6000* | - |' in table
        assert '| `b` | NUDT-SIRST | 0.4000 | - | - |' in table

    def test_files_of_one_name_are_kept_apart(self):
        first, second = record('best', kind='given', model='a'), record('best', 'NUAA-SIRST', kind='given', model='b')
        table = TABLES['cross-set'](Results([first, second]))
        assert '| `best (a)` | NUDT-SIRST | - | *0.5000* | - |' in table
        assert '| `best (b)` | NUDT-SIRST | 0.5000 | - | - |' in table
        second['model'], second['weights']['sha256'] = 'a', 'another'
        assert TABLES['cross-set'](Results([first, second])).count('`best (a)`') == 2

    def test_the_best_unseen_weights_are_not_those_that_saw_the_set(self):
        records = [record('a', iou=0.9), record('b', iou=0.5, trained_on=('NUAA-SIRST',)),
                   record('c', iou=0.4, trained_on=('IRDST',)), record('d', iou=0.99, trained_on=())]  # fmt: skip
        table = TABLES['best-unseen'](Results(records))
        assert '| NUDT-SIRST | `b` | NUAA-SIRST | 0.5000 [0.400, 0.600] | 2 weights |' in table

    def test_a_set_that_is_left_out_stands_beside_the_best_published_weights(self):
        records = [
            record('mine', iou=0.5, kind='trained', config='mine_no-nudt', budget='cpu', trained_on=('NUAA-SIRST',)),
            record('whole', iou=0.99, kind='trained', config='mine_nudt', budget='cpu'),
            record('a', iou=0.9),
            record('b', iou=0.25, trained_on=('IRDST',)),
            record('c', iou=0.375, trained_on=('X',)),
        ]
        found = TABLES['left-out'](Results(records))
        row = '| NUDT-SIRST | `mine_no-nudt` | 0.5000 [0.400, 0.600] | 0.5000 | 0.9000 | 12.5 | `c` | 0.3750 |'
        assert row in found
        assert len(found.splitlines()) == 3
        assert '| - | - | - | - |' in TABLES['left-out'](Results(records[:3]))

    def test_quoted_and_measured_stand_in_columns_of_their_own(self, pages):
        timed = {'config': 'acm-unet_nudt', 'params': 400_000, 'macs': 5e8, 'ratio': {'median': 0.25}}
        table = TABLES['side-by-side'](Results(read_results(pages).records, {'models': [timed]})).splitlines()
        heads = [cell.strip() for cell in table[0].split('|')]
        rows = [dict(zip(heads, (c.strip() for c in line.split('|')), strict=True)) for line in table[2:]]
        (first, second) = (rows[i] for i, r in enumerate(rows) if r['with'] in ('`a`', '`b`'))
        assert (first['parameters'], first['latency ratio']) == ('0.400 M', '0.25')
        assert (first['quoted nuaa'], first['measured nuaa'], second['measured nuaa']) == ('69.4', '-', '40.00')
        assert (first['measured nudt'], second['quoted nudt'], second['source']) == ('60.00', '', '')
        adgfnet = [r for r in rows if r['model'] == '`adgfnet`' or r['model'] == '`adgfnet-lite`']
        assert len(adgfnet) == 2
        assert all(r['with'] == '-' and r['measured nudt'] == '-' for r in adgfnet)

    def test_a_quote_whose_source_names_no_model_stands_beside_none(self, pages):
        timed = {'config': 'abcnet-l_nudt', 'params': 73_000_000, 'macs': 8e10, 'ratio': {'median': 20}}
        results = Results(read_results(pages).records, {'models': [timed]})
        assert '| ABCNet | NUAA-SIRST | 81.01 |' in TABLES['quotes'](results)
        rows = [line for line in TABLES['side-by-side'](results).splitlines() if 'ABCNet' in line]
        assert {row.split('|')[1].strip() for row in rows} == {'`abcnet-l`', '`abcnet-s`'}
        assert not any('81.01' in row for row in rows)

    def test_what_was_not_timed_has_its_counted_cost(self, pages):
        (pages / 'costs').mkdir()
        (pages / 'costs/uiunet_nudt.json').write_text(
            '{"config": "uiunet_nudt", "params": 50540000, "macs": 54300000000}'
        )
        table = TABLES['side-by-side'](read_results(pages))
        (row,) = (line for line in table.splitlines() if line.startswith('| `uiunet` '))
        assert '| 50.540 M | 54.3 G | - | 77.5 |' in row

    def test_a_quote_of_one_model_is_not_that_of_another(self):
        table = TABLES['side-by-side'](Results([record(model='adgfnet-lite', config='adgfnet-lite_nudt')]))
        (row,) = (line for line in table.splitlines() if line.startswith('| `adgfnet-lite` '))
        assert '| 93.7 |' in row
        assert '96.25' not in row

    def test_references_of_published_weights(self):
        table = TABLES['published-weights'](Results([record('acm_sirst3', iou=0.5742)]))
        assert '| 0.5742 | 0.574 | 0.9000 | 12.5 |' in table

    def test_protocols_of_a_record(self, pages):
        table = TABLES['protocols'](read_results(pages), 'published_a_on_NUDT-SIRST')
        assert '| exact | 0.6000 |' in table
        assert '(12.50)' in table  # what a repository does not report

    def test_the_spread_over_protocols(self, pages):
        table = TABLES['protocol-spread'](read_results(pages))
        assert f'0.6000 to {0.6 + (len(PRESETS) - 1) / 100:.4f}' in table

    def test_scenes_without_targets_have_a_table_of_their_own(self):
        empty = record('b', 'Synthetic', kind='packaged')
        del empty['curves']['counts']['targets']
        results = Results([record('a'), empty | {'faults': {'missed': {}, 'false': {'1': 3, '5': 4}}}])
        assert '| `b` | NUDT-SIRST | 7, Synthetic | 28.6% | 1.00 | 12.5 |' in TABLES['empty'](results)
        assert '`b`' not in TABLES['main'](results) + TABLES['cross-set'](results)

    def test_hard_images(self, pages):
        assert '| NUDT-SIRST | 7 | 1 of 1 weights | - |' in TABLES['hard-cases'](read_results(pages))

    def test_trainings(self):
        course = [{'iter': 5, 'seconds': 60, 'processor_seconds': 50, 'IoU': 0.5, 'nIoU': 0.5, 'Pd': 1, 'Fa': 2}]
        training = {'iterations': 10, 'chosen_iteration': 5, 'seconds': 120.0, 'processor_seconds': 90.0}
        course.append({'iter': 10, 'seconds': 120, 'processor_seconds': 90})  # an IoU that is not defined
        r = record(kind='trained', budget='cpu', variant='amp', training=training | {'validation': course})
        row = '| `acm-unet_nudt (cpu, amp)` | 10 | 5 | 0.5000 | 2 | 2 | AMD |'
        assert row in TABLES['trainings'](Results([r]))
        r |= {'variant': "amp, load_from='a.pth'", 'options': {'load_from': 'a.pth'}}
        assert row in TABLES['trainings'](Results([r]))
        r |= {'variant': "amp, load_from='a.pth', b=1", 'options': {'load_from': 'a.pth', 'b': 1}}
        assert '| `acm-unet_nudt (cpu, amp, b=1)` |' in TABLES['trainings'](Results([r]))

    def test_trainings_of_packaged_weights(self, tmp_path):
        """Each 500 iterations take 5 minutes; the second validation is the best."""
        lines = []
        for step, iou in ((500, 0.5), (1000, 0.75), (1500, 0.625)):
            lines.append(f'Iter(train) [{step}/1500]  time: 0.6000  loss: 0.5')
            lines.append(
                f'Iter(val) [9/9]    IoU: {iou}  nIoU: 0.5  Pd: 0.9  Fa: {1000 * iou}  data_time: 0.1  time: 0.1'
            )
        (tmp_path / 'mine_nudt.log').write_text('\n'.join(lines))
        results = Results([], curves={'mine_nudt': read_curve(tmp_path / 'mine_nudt.log')})
        row = '| [`mine_nudt`](logs/mine_nudt.log) | 1500 | 15 | 1000 | 0.7500 | 0.5000 | 0.9000 | 750 |'
        assert row in TABLES['packaged-trainings'](results)
        assert row in TABLES['packaged-trainings'](results, '*_nudt')
        assert 'mine_nudt' not in TABLES['packaged-trainings'](results, '*_nuaa')
        assert '| `mine_nudt` |  | 0.500 | 0.750 | 0.750 |  |' in TABLES['courses'](
            results, '*_nudt', *['4', '5', '11', '20', '26']
        )
        assert '`mine_nudt`' not in TABLES['courses'](results, '*_nuaa', '5')

    def test_ablations_are_those_that_mmirstd_ablate_writes(self, tmp_path):
        metrics = {'nIoU': 0.5, 'Pd': 0.9, 'Fa': 2.0}
        written = [
            VariantResult(name, 0.5, 100, 1.0, {seed: metrics | {'IoU': iou} for seed, iou in enumerate(found)})
            for name, found in (('base', (0.25, 0.75)), ('worse', (0.25, 0.5)), ('better', (0.5, 1.0)))
        ]
        write_variants(tmp_path, written, 1)
        (tmp_path / 'ablations').mkdir()
        (tmp_path / 'ablation.json').rename(tmp_path / 'ablations/recipe.json')
        (tmp_path / 'records').mkdir()
        results = read_results(tmp_path)
        assert TABLES['ablation'](results, 'recipe') in (tmp_path / 'ablation.md').read_text()
        assert '| better | 100 | 0.500 | 1.0 | 0.500, 1.000 | 0.7500 |' in TABLES['ablation'](results, 'recipe')
        with pytest.raises(TableError, match='there is no ablation other; there are recipe'):
            TABLES['ablation'](results, 'other')
        (tmp_path / 'ablations/recipe.json').write_text('[{"name": "base"}]')
        with pytest.raises(TableError, match=r'recipe\.json is not what mmirstd ablate writes'):
            TABLES['ablation'](read_results(tmp_path), 'recipe')

    @pytest.mark.parametrize('name', [name for name in TABLES if name not in ('protocols', 'courses', 'ablation')])
    def test_no_record_is_no_error(self, name):
        assert TABLES[name](Results([]))


def test_curves_are_those_of_the_predictions(tmp_path):
    write_record(tmp_path / 'r.json', record())
    pixels, components = sweeps_of(json.loads((tmp_path / 'r.json').read_text()))
    rng = np.random.default_rng(0)
    prediction, mask = rng.random((16, 16)), np.zeros((16, 16), bool)
    mask[4:6, 4:6] = True
    assert pixels.auc() == pixel_sweep(prediction, mask, THRESHOLDS).auc()
    expected = component_sweep(prediction, mask, THRESHOLDS)
    np.testing.assert_array_equal(components.pd_fa(), expected.pd_fa())


def test_pictures(pages, tmp_path):
    (pages / 'benchmark.json').write_text(
        json.dumps({'reference': 'x', 'models': [{'config': 'acm-unet_nudt', 'ratio': {'median': 0.5}}]})
    )
    course = [{'iter': i, 'seconds': 60 * i, 'processor_seconds': 1, 'IoU': 0.1 * i} for i in (1, 2)]
    write_record(pages / 'records/c.json', record('c', kind='trained', budget='cpu', training={'validation': course}))
    made = {path.name for path in write_results(pages, pictures=tmp_path / 'pictures')}
    assert made == {
        'results_pr_nuaa-sirst.png', 'results_pd_fa_nuaa-sirst.png', 'results_pr_nudt-sirst.png',
        'results_pd_fa_nudt-sirst.png', 'results_latency_nuaa-sirst.png', 'results_latency_nudt-sirst.png',
        'results_latency_irstd-1k.png', 'results_trainings.png',
    }  # fmt: skip
    for name in made:
        assert Image.open(tmp_path / 'pictures' / name).size[0] > 500


def test_metafiles_get_the_metrics_of_own_weights_alone(tmp_path):
    shutil.copytree(ROOT / 'configs/sgem', tmp_path / 'configs/sgem', ignore=shutil.ignore_patterns('*.py'))
    path = tmp_path / 'configs/sgem/metafile.yml'
    before = path.read_text()
    named = {'config': 'sgem_unet-s_joint', 'model': 'sgem_unet-s_joint'}
    records = [record('sgem_unet-s_joint', 'NUAA-SIRST', 0.123456, kind='packaged', **named),
               record('x', 'NUDT-SIRST', 0.9, kind='given', **named)]  # fmt: skip
    ((found, text),) = render_metafiles(tmp_path / 'configs', records)
    assert found == path
    changed = [line for line in text.splitlines() if line not in before.splitlines()]
    assert changed == ['        Metrics: {IoU: 12.35, nIoU: 12.35, Pd: 90, Fa: 12.5}']
    assert len(text.splitlines()) == len(before.splitlines())
    entries = {m['Name']: m for m in yaml.safe_load(text)['Models']}
    assert entries['sgem_unet-s_joint']['Results'][0]['Metrics']['IoU'] == 12.35
    with pytest.raises(ArgumentError, match='holds no'):
        list(render_metafiles(tmp_path / 'x', records))


@pytest.mark.parametrize(
    ('training', 'options', 'metrics'),
    [
        ({'schedule': 'config'}, {}, {'IoU': 50}),
        ({'schedule': 'fast'}, {}, None),
        ({'schedule': 'config'}, {'train_cfg.max_iters': 3}, None),
    ],
)
def test_metafiles_get_the_metrics_of_trainings_as_the_config_says(tmp_path, training, options, metrics):
    shutil.copytree(ROOT / 'configs/baselines', tmp_path / 'configs/baselines', ignore=shutil.ignore_patterns('*.py'))
    r = record(kind='trained', budget='gpu', training=training, options=options)

    def result(*records):
        ((_, text),) = render_metafiles(tmp_path / 'configs', records)
        (entry,) = (m for m in yaml.safe_load(text)['Models'] if m['Name'] == 'acm-unet_nudt')
        return entry['Results'][0]['Metrics'].get('IoU')

    assert result(r) == (metrics and metrics['IoU'])
    packaged = record(kind='packaged', iou=0.25)
    assert result(packaged, r) == result(r, packaged) == 25


def test_the_committed_pages_are_what_the_records_give():
    """If not: ``make results``."""
    results = read_results(PAGES)
    pages = dict(render_pages(PAGES, results))
    assert {path.name for path in pages} >= {'models.md', 'cross-set.md'}
    stale = [path.name for path, text in pages.items() if path.read_text(encoding='utf-8') != text]
    assert not stale, f'{stale}: run `make results`'
    metafiles = dict(render_metafiles(ROOT / 'configs', results.records))
    assert not [path for path, text in metafiles.items() if path.read_text(encoding='utf-8') != text]


def test_metafiles_have_metrics_of_no_run_without_a_record():
    recorded = {(r['config'], r['dataset']) for r in read_results(PAGES).records}
    for path in ROOT.glob('configs/*/metafile.yml'):
        for model in yaml.safe_load(path.read_text(encoding='utf-8'))['Models']:
            for result in model.get('Results', ()):
                assert not result['Metrics'] or (model['Name'], result['Dataset']) in recorded, model['Name']


def test_committed_records_name_no_folder_of_the_machine():
    for path in (PAGES / 'records').glob('*.json'):
        text = path.read_text(encoding='utf-8')
        assert '"/' not in text, path


def test_the_command_line(call, pages, capsys):
    (pages / 'page.md').write_text('<!-- table: main -->\n<!-- end of table -->')
    assert call('reproduce', '--pages', pages) == 0
    assert capsys.readouterr().out.strip() == str(pages / 'page.md')
    assert call('reproduce', '--pages', pages, '--models', 'x') == 2
    assert '--pages writes what records say' in capsys.readouterr().err
    assert call('reproduce', '--pictures', 'x', '--models', 'x', '--datasets', 'nudt') == 2
    assert '--pictures and --metafiles go with --pages' in capsys.readouterr().err
