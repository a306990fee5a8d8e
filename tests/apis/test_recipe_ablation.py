"""Variants of a recipe in equal time: what is run, what is skipped, and the table."""

import json
import os
import shutil
import signal

import pytest
from mmengine.config import Config

from mmirstd.apis import ablate_recipes, recipe_ablation, recipe_training
from mmirstd.apis import test as evaluate
from mmirstd.apis.recipe_ablation import VariantResult, measured_step, table_rows
from mmirstd.apis.recipe_training import AblationError, final_metrics
from mmirstd.apis.recipe_variants import read_variants, variant_config
from mmirstd.apis.scheduling import set_iterations
from mmirstd.cli import main
from mmirstd.datasets import FolderDataset
from mmirstd.utils import locks
from mmirstd.utils.interrupts import Interrupted, handled_signals

VARIANTS = """
variants = dict(
    base=dict(),
    sgd=dict(optim_wrapper=dict(optimizer=dict(_delete_=True, type='SGD', lr=0.1, momentum=0.9, nesterov=True))),
)
"""


@pytest.fixture
def here(monkeypatch):
    """Trainings run in this process; the commands are recorded."""
    commands = []

    def run(command, output, environment):
        assert environment['OMP_NUM_THREADS'] == '1'
        commands.append(command[2:])
        main(command[3:])
        return 0

    monkeypatch.setattr(recipe_training, 'run_process', run)
    return commands


@pytest.fixture
def one_second(monkeypatch):
    """A step takes ten seconds: six iterations a minute."""
    monkeypatch.setattr(recipe_ablation, 'measured_step', lambda cfg, folder, threads: 10.0)


def test_each_variant_is_trained_once_with_each_seed(here, one_second, tiny_config, tmp_path):
    config, folder = tiny_config(VARIANTS), tmp_path / 'ablation'
    results = ablate_recipes(config, minutes=1, seeds=[0, 3], only='sgd', work_dir=folder)
    assert 'change from sgd' in (folder / 'ablation.md').read_text()
    assert [command[2] for command in here] == [str(folder / f'sgd/seed{seed}/config.py') for seed in (0, 3)]
    for seed in (0, 3):
        cfg = Config.fromfile(folder / f'sgd/seed{seed}/config.py')
        assert cfg.randomness.seed == seed
        assert (cfg.train_cfg.max_iters, cfg.train_cfg.val_interval, cfg.param_scheduler[0].end) == (6, 6, 20)
        assert cfg.optim_wrapper.optimizer == dict(type='SGD', lr=0.1, momentum=0.9, nesterov=True)
        assert 'variants' not in cfg
        state = json.loads((folder / f'sgd/seed{seed}/run.json').read_text())
        assert state['metrics'] == results[0].metrics[seed]
        assert state['metrics'].keys() == {'IoU', 'nIoU', 'Pd', 'Fa'}
    assert results[0].iterations == 6
    assert (folder / 'ablation.md').read_text().splitlines()[0].startswith('1 minutes of CPU time')
    assert json.loads((folder / 'ablation.json').read_text())[0]['metrics']['3'] == results[0].metrics[3]

    again = ablate_recipes(config, minutes=1, seeds=[0, 3], only='sgd', work_dir=folder)
    assert len(here) == 2  # nothing was trained
    assert again == results
    longer = ablate_recipes(config, minutes=1.5, seeds=[3], only='sgd', work_dir=folder)
    assert longer[0].iterations == 9
    assert len(here) == 3


def test_the_test_split_is_tested_for_a_report(here, one_second, tiny_config, tmp_path, capsys):
    config, folder = tiny_config(VARIANTS), tmp_path / 'ablation'
    options = dict(minutes=1, seeds=[0], only='sgd', work_dir=folder)
    assert ablate_recipes(config, **options)[0].test_metrics is None
    assert 'test' not in (folder / 'ablation.md').read_text()
    (result,) = ablate_recipes(config, **options, test_too=True)
    assert len(here) == 1  # what was trained before is tested
    found = evaluate(config, folder / 'sgd/seed0/iter_6.pth', work_dir=tmp_path / 'test').metrics
    assert result.test_metrics == {0: {name: found[name] for name in ('IoU', 'nIoU', 'Pd', 'Fa')}}
    (row,) = table_rows([result])
    assert (row['test IoU'], row['test Fa']) == (found['IoU'], found['Fa'])
    assert 'test IoU by seed' in (folder / 'ablation.md').read_text()
    (folder / 'sgd/seed0/iter_6.pth').unlink()
    assert ablate_recipes(config, **options, test_too=True) == [result]  # nothing is tested again


def test_the_test_split_must_be_there(tiny_config, tmp_path):
    config = tiny_config(VARIANTS + 'test_dataloader = test_evaluator = test_cfg = None\n')
    with pytest.raises(ValueError, match='variant base: test_dataloader must be a dict'):
        ablate_recipes(config, minutes=1, work_dir=tmp_path / 'ablation', test_too=True)


def test_a_training_that_was_interrupted_is_resumed(here, one_second, tiny_config, tmp_path, monkeypatch, capsys):
    config, folder = tiny_config(VARIANTS), tmp_path / 'ablation'
    train = recipe_training.run_process

    def interrupted(command, *rest):
        path = command[4]
        kept = path + '.kept'
        shutil.copy(path, kept)
        cfg = Config.fromfile(path)
        cfg.train_cfg.max_iters = 3  # as far as it comes
        cfg.dump(path)
        train(command, *rest)
        shutil.move(kept, path)
        return 1

    with monkeypatch.context() as m:
        m.setattr(recipe_training, 'run_process', interrupted)
        with pytest.raises(AblationError, match=r'base/seed0 ended with status 1 and no metrics: see .*output\.txt'):
            ablate_recipes(config, minutes=1, seeds=[0], only='base', work_dir=folder)
    minutes = json.loads((folder / 'base/seed0/run.json').read_text())['cpu_minutes']
    capsys.readouterr()
    (result,) = ablate_recipes(config, minutes=1, seeds=[0], only='base', work_dir=folder)
    assert f'resuming from {folder}/base/seed0/iter_3.pth' in capsys.readouterr().out
    assert result.minutes >= minutes
    assert result.metrics.keys() == {0}


def test_a_step_is_measured_once(tiny_config, tmp_path):
    base, changes = read_variants(tiny_config(VARIANTS))
    cfg = variant_config(base, 'sgd', changes['sgd'], None, amp=True)
    assert cfg.optim_wrapper.type == 'AmpOptimWrapper'
    seconds = measured_step(cfg, tmp_path / 'sgd', 1)
    known = json.loads((tmp_path / 'sgd/step.json').read_text())
    assert len(known['steps']) == recipe_ablation.TIMED_STEPS
    assert min(known['steps']) <= seconds == known['seconds'] <= max(known['steps'])
    known['seconds'] = 123.0
    (tmp_path / 'sgd/step.json').write_text(json.dumps(known))
    assert measured_step(cfg, tmp_path / 'sgd', 1) == 123.0
    cfg.train_dataloader.batch_size = 1
    assert measured_step(cfg, tmp_path / 'sgd', 1) != 123.0


def test_ctrl_c_while_steps_are_measured(call, tiny_config, monkeypatch, capsys):
    monkeypatch.setattr(
        recipe_ablation._StepTimer, 'after_train_iter', lambda *args, **kwargs: os.kill(os.getpid(), signal.SIGINT)
    )
    assert call('ablate', tiny_config(VARIANTS), '--minutes', 1) == 130
    line = 'interrupted by SIGINT: the same command continues, finished trainings and checkpoints are kept'
    assert capsys.readouterr().err.splitlines()[-1] == line


def test_the_first_variant_is_the_reference():
    results = [
        VariantResult(
            'base',
            0.5,
            10,
            1.0,
            {0: dict(IoU=0.5, nIoU=0.4, Pd=1.0, Fa=3.0), 1: dict(IoU=0.6, nIoU=0.6, Pd=0.8, Fa=5.0)},
        ),
        VariantResult('worse', 0.5, 10, 1.0, {0: dict(IoU=0.4, nIoU=0.4, Pd=1.0, Fa=3.0)}),
        VariantResult('better', 0.5, 10, 1.0, {0: dict(IoU=0.7, nIoU=0.4, Pd=1.0, Fa=3.0)}),
    ]
    rows = table_rows(results)
    assert [row['variant'] for row in rows] == ['base', 'better', 'worse']
    assert [row['change from base'] for row in rows] == ['+0.0000', '+0.1500', '-0.1500']
    assert (rows[0]['mean'], rows[0]['spread'], rows[1]['spread']) == ('0.5500', '0.0707', None)
    assert (rows[0]['nIoU'], rows[0]['Fa']) == (0.5, 4.0)


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('', 'variants must be a dict of names and dicts of changes, got None'),
        ('variants = dict()', 'variants must be a dict'),
        ("variants = dict(a='x')", 'variants must be a dict'),
        ("variants = {'a/b': dict()}", "a variant cannot be called 'a/b'"),
        ("variants = {'': dict()}", "a variant cannot be called ''"),
        ('variants = {1: dict()}', 'a variant cannot be called 1'),
        (
            "variants = {'a': dict(optim_wraper=dict(type='X'))}",
            'a: optim_wraper is no key .* did you mean optim_wrapper',
        ),
        ("variants = {'a': dict(data_root='x')}", 'variant a: data_root is a variable of the file'),
        ("variants = {'a': dict(default_hooks=None)}", 'variant a: default_hooks must be a dict .* got None'),
        ("variants = {'a': dict(train_cfg=dict(max_iters=dict(x=1)))}", 'variant a: .*max_iters'),
        ("variants = {'a': dict(optim_wrapper=dict(optimizer=dict(lr=-1.0)))}", 'optimizer.lr'),
    ],
)
def test_files_without_variants_are_refused(tiny_config, tmp_path, text, message):
    with pytest.raises(ValueError, match=message):
        ablate_recipes(tiny_config(text), minutes=1, work_dir=tmp_path / 'ablation')
    assert not (tmp_path / 'ablation').exists()


def test_mistakes_cost_no_time(tiny_config, tmp_path, call):
    config = tiny_config(VARIANTS)
    assert 'there is no variant sdg; did you mean sgd?' in call('ablate', config, '--minutes', 1, '--only', 'sdg')
    for minutes in (0, -1, 'nan', 'inf'):
        assert 'must be positive and finite' in call('ablate', config, f'--minutes={minutes}')
    for seed in (-1, 2**32):
        assert 'randomness.seed' in call('ablate', config, '--minutes', 1, '--seeds', 0, seed)
    file = tmp_path / 'file'
    file.touch()
    assert 'is no folder to write to' in call('ablate', config, '--minutes', 1, '--work-dir', file / 'out')
    by_epoch = tiny_config(VARIANTS + "param_scheduler = [dict(type='StepLR', step_size=3)]\n", name='epochs.py')
    assert 'schedulers by iterations, StepLR is by epochs' in call('ablate', by_epoch, '--minutes', 1)


def test_metrics_come_from_the_end_of_the_last_run(tmp_path):
    for stamp, lines in {'1': [(3, 0.2)], '2': [(3, 0.3), (6, 0.4)], '3': [(3, 0.9)]}.items():
        folder = tmp_path / stamp / 'vis_data'
        folder.mkdir(parents=True)
        texts = [
            json.dumps({'step': step, 'loss': 1.0}) + '\n' + json.dumps({'step': step, 'IoU': iou})
            for step, iou in lines
        ]
        (folder / 'scalars.json').write_text('\n'.join(texts) + '\n')
    assert final_metrics(tmp_path, 6) == {'IoU': 0.4}
    assert final_metrics(tmp_path, 9) is None


def test_schedules_keep_their_shares():
    schedulers = [
        dict(type='LinearLR', by_epoch=False, begin=0, end=100),
        dict(type='CosineAnnealingLR', by_epoch=False, begin=100, end=1000, T_max=900),
        dict(type='MultiStepLR', by_epoch=False, milestones=[250, 500], end=2**31 - 1),
    ]
    cfg = Config(
        dict(
            train_cfg=dict(type='IterBasedTrainLoop', max_iters=1000, val_interval=100, val_begin=500),
            param_scheduler=schedulers,
            default_hooks=dict(checkpoint=dict(interval=100)),
        )
    )
    set_iterations(cfg, 300, 3, 'this')
    assert cfg.train_cfg == dict(type='IterBasedTrainLoop', max_iters=300, val_interval=100)
    assert (cfg.param_scheduler[0].end, cfg.param_scheduler[1].begin, cfg.param_scheduler[1].T_max) == (30, 30, 270)
    assert (cfg.param_scheduler[2].milestones, cfg.param_scheduler[2].end) == ([75, 150], 2**31 - 1)
    with pytest.raises(ValueError, match='10 iterations cannot be divided by 3 validations'):
        set_iterations(cfg, 10, 3, 'this')


def test_the_same_seed_twice_is_one_training(here, one_second, tiny_config, tmp_path):
    config = tiny_config(VARIANTS)
    (result,) = ablate_recipes(config, minutes=0.5, seeds=[2, 2], only=['base', 'base'], work_dir=tmp_path / 'a')
    assert len(here) == 1
    assert result.row(result)['IoU by seed'].count(',') == 0


def test_a_variant_that_cannot_be_built_stops_before_the_first_training(here, tiny_config, tmp_path):
    config = tiny_config('variants = dict(good=dict(), bad=dict(train_dataloader=dict(batch_sise=3)))')
    with pytest.raises(AblationError, match=r'variant bad: .*batch_sise'):
        ablate_recipes(config, minutes=1, work_dir=tmp_path / 'a')
    assert here == []


def test_files_that_are_of_no_ablation_stay(here, one_second, tiny_config, tmp_path):
    run = tmp_path / 'a/base/seed0'
    run.mkdir(parents=True)
    (run / 'thesis.txt').write_text('years')
    config = tiny_config(VARIANTS)
    with pytest.raises(AblationError, match=r'seed0 has no run\.json: its files are of no ablation'):
        ablate_recipes(config, minutes=1, only='base', work_dir=tmp_path / 'a')
    assert (run / 'thesis.txt').read_text() == 'years'
    for damaged in ('{"config": "1', '[]', '{}'):
        (run / 'run.json').write_text(damaged)
        with pytest.raises(AblationError, match=r'run\.json is damaged .* delete the folder'):
            ablate_recipes(config, minutes=1, only='base', work_dir=tmp_path / 'a')
    assert (run / 'thesis.txt').read_text() == 'years'


def test_one_ablation_at_a_time_trains_a_variant(here, one_second, tiny_config, tmp_path, monkeypatch):
    monkeypatch.setattr(locks, 'PATIENCE', 0.1)
    with locks.folder_lock(tmp_path / 'a/sgd'), pytest.raises(locks.FolderInUseError, match='a/sgd is in use'):
        ablate_recipes(tiny_config(VARIANTS), minutes=1, work_dir=tmp_path / 'a')
    assert here == []


@pytest.mark.skipif(os.name != 'posix', reason='signals of POSIX')
def test_a_training_ends_in_peace_on_ctrl_c(tmp_path):
    script = "trap 'sleep 0.5; echo complete; exit 143' TERM; sleep 1; kill -INT $PPID; sleep 9 & wait"
    with open(tmp_path / 'output', 'wb') as output, handled_signals(), pytest.raises(Interrupted):
        recipe_training.run_process(['sh', '-c', script], output, {})
    assert (tmp_path / 'output').read_text() == 'complete\n'


def test_a_large_set_is_not_loaded_for_a_measurement(tiny_config, tmp_path, monkeypatch):
    base, changes = read_variants(tiny_config(VARIANTS))
    base.train_dataloader.dataset.cache = 'memory'
    loaded = []
    prepare = FolderDataset.prepare_data
    monkeypatch.setattr(FolderDataset, 'prepare_data', lambda self, i: loaded.append(i) or prepare(self, i))
    counts = []
    for most in (2000, 3):
        monkeypatch.setattr(recipe_ablation, 'MOST_CACHED', most)
        measured_step(variant_config(base, 'base', changes['base'], None, amp=False), tmp_path / str(most), 1)
        counts.append(len(loaded))
        loaded.clear()
    assert counts[0] - counts[1] == 5


def test_a_line_that_was_cut_off_is_passed_over(tmp_path):
    folder = tmp_path / '1/vis_data'
    folder.mkdir(parents=True)
    (folder / 'scalars.json').write_text('{"step": 6, "IoU": 0.5}\n{"step": 6, "lo')
    assert final_metrics(tmp_path, 6) == {'IoU': 0.5}
