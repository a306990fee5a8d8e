"""Runs of a reproduction: what they are, their records, skipping, going on, failing."""

import argparse
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from mmirstd.apis import reproduce, reproducing
from mmirstd.apis.configuration import OptionError
from mmirstd.apis.planned_run import ReproductionRun
from mmirstd.apis.reproduction_plan import plan_runs
from mmirstd.apis.reproduction_run import perform_run
from mmirstd.apis.reproduction_scores import curves_of, faults_of, protocol_results, score_predictions
from mmirstd.apis.run_records import FORMAT, RecordError, protocol_metrics, read_record, write_record
from mmirstd.checkpoints.state_dict import CheckpointError
from mmirstd.cli.reproduce import add_arguments
from mmirstd.datasets import SyntheticIRSTDDataset
from mmirstd.evaluation.analysis.predictions import write_prediction
from mmirstd.evaluation.functional.protocols import PRESETS
from mmirstd.utils import locks
from mmirstd.utils.configs import ConfigNotFoundError, packaged_weights
from mmirstd.utils.data_root import iter_datasets
from mmirstd.utils.errors import ArgumentError

NOWHERE = "test_dataloader = dict(test_dataloader, dataset=dict(dataset, test_mode=True, data_root='nowhere'))"


@pytest.fixture
def here(monkeypatch):
    """Runs happen in this process: a process of its own takes seconds to start."""

    class Process:
        def __init__(self, target, args):
            self.run, self.exitcode = (target, args), None

        def start(self):
            run, folder, record, *rest = self.run[1]
            try:
                perform_run(run, folder, record, *rest)
                self.exitcode = 0
            except Exception as error:
                (folder / 'failure.txt').write_text(str(error))
                self.exitcode = 1

        def terminate(self):
            raise AssertionError('no signal came')

        def join(self):
            pass

    monkeypatch.setattr(reproducing, '_context', lambda: type('Context', (), {'Process': Process}))


@pytest.fixture
def run_tiny(here, tiny_config, tmp_path):
    """Train the tiny network on the dataset called own."""

    def run(*models, extra='', **options):
        tiny_config(name='tiny_own.py', extra=extra)
        models = models or (str(tmp_path / 'tiny'),)
        return reproduce(models, ['own'], out=tmp_path / 'out', resamples=20, workers=0, **{'budget': 'gpu', **options})

    return run


def test_a_run_is_trained_tested_and_recorded(run_tiny, tmp_path):
    (outcome,) = run_tiny()
    assert (outcome.state, outcome.error) == ('done', '')
    assert outcome.record == tmp_path / 'out/records/trained_gpu-tiny_own_on_own.json'
    record = read_record(outcome.record)
    assert (record['config'], record['budget'], record['dataset']) == ('tiny_own', 'gpu', 'tiny')
    assert record['split']['num'] == 5
    assert [p['name'] for p in record['protocols']] == list(PRESETS)
    low, high = record['protocols'][0]['intervals']['IoU']
    assert 0 <= low <= protocol_metrics(record)['IoU'] <= high <= 1
    training = record['training']
    assert training['iterations'] == 6
    assert [v['iter'] for v in training['validation']] == [3, 6]
    assert training['chosen_iteration'] in (3, 6)
    assert 0 < training['validation'][0]['seconds'] <= training['seconds']
    assert training['processor_seconds'] > 0
    assert record['weights']['trained_on'][0]['dataset'] == 'tiny'
    assert record['costs']['params'] > 500
    assert record['costs']['macs'] > 0
    assert record['curves']['counts']['targets'] == 5
    assert sum(record['curves']['target_bins']) == 5 * 9
    assert 'torch' in record['versions']
    assert not list(tmp_path.glob('out/*/predictions'))
    assert training['schedule'] == 'config'


def test_what_is_done_is_skipped_until_the_config_changes(run_tiny):
    assert [o.state for o in run_tiny()] == ['done']
    (skipped,) = run_tiny()
    assert skipped.state == 'skipped'
    before = skipped.record.read_bytes()
    (again,) = run_tiny(extra="train_cfg['max_iters'] = 3")
    assert again.state == 'done'
    assert again.record == skipped.record
    assert read_record(again.record)['training']['iterations'] == 3
    (old,) = again.record.parent.glob('*.old')
    assert old.read_bytes() == before
    assert old.name == f'{again.record.stem}.{json.loads(before)["config_sha256"][:8]}.json.old'


def test_options_make_a_run_of_their_own(run_tiny):
    (plain,), (shorter,) = run_tiny(), run_tiny(cfg_options={'train_cfg.max_iters': 3})
    assert (plain.state, shorter.state) == ('done', 'done')
    assert plain.record != shorter.record
    record = read_record(shorter.record)
    assert (record['training']['iterations'], record['variant']) == (3, 'train_cfg.max_iters=3')
    assert record['command'].endswith(' --cfg-options train_cfg.max_iters=3')


def test_loaders_workers_change_no_run(tiny_config, tmp_path):
    digests = []
    for i, loader in enumerate(
        ({}, {'num_workers': 2, 'persistent_workers': True, 'pin_memory': True}, {'batch_size': 1})
    ):
        tiny_config(name=f'a{i}_own.py', extra=f'train_dataloader.update({loader})')
        (run,) = plan_runs([str(tmp_path / f'a{i}')], ['own'], budget='gpu')
        digests.append(run.digest())
    assert digests[0] == digests[1] != digests[2]


def test_the_checkpoint_is_chosen_anew_by_another_metric(tiny_config, tmp_path):
    digests = []
    for metric in ('IoU', 'nIoU'):
        tiny_config(name=f'{metric}_own.py', extra=f"default_hooks['checkpoint']['save_best'] = '{metric}'")
        digests.append(plan_runs([str(tmp_path / metric)], ['own'], budget='gpu')[0].digest())
    assert digests[0] != digests[1]


def test_what_cannot_be_tested_is_not_trained(run_tiny, tiny_config, tmp_path):
    for name, extra, message in (
        ('no-folder', NOWHERE, 'there is no folder .*nowhere'),
        ('threshold', "model['decode_head']['threshold'] = 0.9", 'threshold=0.9: records are of the threshold 0.5'),
    ):
        tiny_config(name=f'{name}_own.py', extra=extra)
        (outcome,) = run_tiny(str(tmp_path / name))
        assert outcome.state == 'failed'
        assert re.search(message, outcome.error)
    assert not list(tmp_path.glob('out/*/training'))
    with pytest.raises(ArgumentError, match='--resamples -5'):
        reproduce(['sgem_unet-s'], ['nudt'], budget='cpu', out=tmp_path / 'out', resamples=-5)


def test_a_damaged_record_is_made_again_without_training_again(run_tiny, tmp_path):
    (outcome,) = run_tiny()
    whole = read_record(outcome.record)
    outcome.record.write_text('{"format"')
    (checkpoint,) = tmp_path.glob('out/*/training/iter_6.pth')
    written = checkpoint.stat().st_mtime_ns
    (again,) = run_tiny()
    assert again.state == 'done'
    assert checkpoint.stat().st_mtime_ns == written
    assert read_record(again.record)['protocols'] == whole['protocols']


def test_a_damaged_note_of_a_training_is_made_again(run_tiny, tmp_path):
    (outcome,) = run_tiny()
    outcome.record.unlink()
    (done,) = tmp_path.glob('out/*/training/done.json')
    text = done.read_text()
    checkpoint = Path(json.loads(text)['checkpoint'])
    written = checkpoint.stat().st_mtime_ns
    done.write_text(text[:20])
    (again,) = run_tiny()
    assert again.state == 'done'
    assert json.loads(done.read_text())['checkpoint'] == str(checkpoint)
    assert checkpoint.stat().st_mtime_ns == written


def test_a_record_of_another_version_stays(run_tiny, tmp_path):
    (outcome,) = run_tiny()
    newer = '{"format": 2, "name": "from the future"}'
    outcome.record.write_text(newer)
    (again,) = run_tiny()
    assert again.state == 'failed'
    assert 'has the format 2; this version of mmirstd reads 1' in again.error
    assert outcome.record.read_text() == newer


def test_what_cannot_be_read_or_is_in_use_fails_in_its_run_alone(run_tiny, tmp_path, monkeypatch):
    (outcome,) = run_tiny()
    outcome.record.unlink()
    outcome.record.mkdir()
    (again,) = run_tiny()
    assert again.state == 'failed'
    assert outcome.record.name in again.error
    outcome.record.rmdir()
    monkeypatch.setattr(locks, 'PATIENCE', 0.1)
    (folder,) = (path.parent for path in tmp_path.glob('out/*/run.json'))
    with locks.folder_lock(folder):
        (again,) = run_tiny()
    assert again.state == 'failed'
    assert 'is in use by another process' in again.error


def test_a_training_that_was_ended_goes_on(run_tiny, tmp_path, monkeypatch):
    from mmirstd.engine.hooks import ValidationCurveHook

    whole = read_record(run_tiny()[0].record)
    shutil.rmtree(tmp_path / 'out')
    before = ValidationCurveHook.after_val_epoch

    def ended(hook, runner, metrics=None):
        before(hook, runner, metrics)
        if runner.iter == 6:
            raise MemoryError('the machine is full')

    with monkeypatch.context() as m:
        m.setattr(ValidationCurveHook, 'after_val_epoch', ended)
        (failed,) = run_tiny()
        assert failed.state == 'failed'
        assert 'the machine is full' in failed.error
        assert not failed.record.exists()
    (done,) = run_tiny()
    assert done.state == 'done'
    record = read_record(done.record)
    assert [v['iter'] for v in record['training']['validation']] == [3, 6]
    values = [[v['IoU'] for v in r['training']['validation']] for r in (record, whole)]
    assert values[0] == values[1]
    assert record['protocols'] == whole['protocols']


def test_a_run_that_fails_leaves_the_others(here, tiny_config, tmp_path):
    tiny_config(name='good_own.py')
    tiny_config(name='bad_own.py', extra="train_dataloader = dict(dataset=dict(ann_file='missing.txt'))")
    outcomes = reproduce(
        [str(tmp_path / 'bad'), str(tmp_path / 'good')], ['own'], budget='gpu', out=tmp_path / 'out', workers=0,
        resamples=0,
    )  # fmt: skip
    assert [o.state for o in outcomes] == ['failed', 'done']
    assert 'missing.txt' in outcomes[0].error
    assert read_record(outcomes[1].record)['bootstrap'] is None


def test_given_weights_are_tested_and_not_trained(run_tiny, tiny_checkpoint, tmp_path):
    (outcome,) = run_tiny(budget=None, weights=tiny_checkpoint)
    assert outcome.state == 'done', outcome.error
    record = read_record(outcome.record)
    assert record['training'] is None
    assert record['weights']['kind'] == 'given'
    assert record['weights']['trained_on'] == []
    assert not list(tmp_path.glob('out/*/training'))


def test_masks_of_rendered_scenes_are_saved(tmp_path):
    """A prediction that is the mask has no fault; one pixel in a scene without targets is false."""
    rendered = {'length': 3, 'size': (32, 32), 'part': 'test', 'lazy_init': True}
    scenes = SyntheticIRSTDDataset(**rendered)
    for i in range(3):
        write_prediction(tmp_path / f'{i + 1:06d}.npz', scenes.pipeline_input(i)['gt_seg_map'].astype(np.float32))
    exact, *_ = protocol_results(score_predictions(scenes, tmp_path, 0), 0)
    assert (exact.metrics['IoU'], exact.metrics['Fa']) == (1, 0)

    empty = SyntheticIRSTDDataset(**rendered, scene={'target_counts': [1.0]})
    probability = np.zeros((32, 32), np.float32)
    for i in range(3):
        probability[5, 7] = i == 1
        write_prediction(tmp_path / f'{i + 1:06d}.npz', probability)
    scored = score_predictions(empty, tmp_path, 0)
    exact, *_ = protocol_results(scored, 0)
    assert exact.metrics['Fa'] == pytest.approx(1e6 / (3 * 32 * 32))
    assert 'targets' not in curves_of(scored)['counts']
    assert faults_of(scored.records) == {'missed': {}, 'false': {'000002': 1}}


def test_other_weights_are_another_run(run_tiny, tiny_checkpoint):
    (first,) = run_tiny(budget=None, weights=tiny_checkpoint)
    content = torch.load(tiny_checkpoint)
    content['state_dict']['decode_head.conv_seg.bias'] += 0.5
    torch.save(content, tiny_checkpoint)
    (second,) = run_tiny(budget=None, weights=tiny_checkpoint)
    assert (first.state, second.state) == ('done', 'done')
    assert first.record != second.record


def test_the_saved_predictions_must_give_the_metrics_of_the_test(run_tiny, tiny_checkpoint):
    (outcome,) = run_tiny(budget=None, weights=tiny_checkpoint, cfg_options={'model.decode_head.threshold': 0.9})
    assert outcome.state == 'failed'
    assert 'threshold=0.9: records are of the threshold 0.5' in outcome.error


@pytest.mark.exhaustive
@pytest.mark.parametrize(('number', 'interval'), [(signal.SIGKILL, 20), (signal.SIGINT, 10**6)])
def test_a_reproduction_that_is_killed_goes_on(tiny_config, tmp_path, number, interval):
    """With real processes: all of them get the signal in the middle of a training. Ctrl-C has it write a checkpoint."""
    loops = f"""
train_cfg['max_iters'] = 200
train_cfg['val_interval'] = 100
default_hooks['checkpoint']['interval'] = {interval}
"""
    tiny_config(name='tiny_own.py', extra=loops)
    command = [sys.executable, '-m', 'mmirstd', 'reproduce', '--models', 'tiny', '--datasets', 'own', '--budget', 'gpu']
    command += ['--out', 'out', '--workers', '0', '--resamples', '0']
    killed = subprocess.Popen(command, cwd=tmp_path, start_new_session=True, stdout=subprocess.DEVNULL)
    for _ in range(3000):
        logs = [path.read_text() for path in tmp_path.glob('out/*/output.log')]
        if any('Iter(train) [ 50/200]' in log for log in logs):
            break
        assert killed.poll() is None
        time.sleep(0.1)
    os.killpg(killed.pid, number)
    assert killed.wait() == (130 if number == signal.SIGINT else -number)
    assert list(tmp_path.glob('out/*/training/iter_*.pth'))
    assert not list(tmp_path.glob('out/records/*.json'))
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=1200)
    assert done.returncode == 0, done.stdout
    assert 'trained_gpu-tiny_own_on_own: done' in done.stdout
    assert 'resuming from' in next(tmp_path.glob('out/*/output.log')).read_text()
    record = read_record(next(tmp_path.glob('out/records/*.json')))
    assert [v['iter'] for v in record['training']['validation']] == [100, 200]


class TestPlan:
    def test_a_model_is_trained_on_each_dataset(self):
        runs = plan_runs(['sgem_unet-s', 'acm-unet'], ['nudt', 'nuaa'], budget='cpu')
        assert [(r.config, r.dataset) for r in runs] == [
            ('sgem_unet-s_nudt', 'nudt'), ('sgem_unet-s_nuaa', 'nuaa'), ('acm-unet_nudt', 'nudt'),
            ('acm-unet_nuaa', 'nuaa'),
        ]  # fmt: skip
        assert {r.kind for r in runs} == {'trained'}

    def test_the_budget_of_a_cpu_shortens_what_takes_long(self):
        own, long = (plan_runs([m], ['nudt'], budget='cpu')[0].train_config() for m in ('sgem_unet-s', 'adgfnet-lite'))
        assert own.train_cfg.max_iters == long.train_cfg.max_iters == 2200
        assert long.optim_wrapper == own.optim_wrapper
        assert any(hook['type'] == 'EMAHook' for hook in long.custom_hooks)
        assert long.train_dataloader.batch_size == 8  # the network's own samples
        with pytest.raises(OptionError, match='its optimizers have no schedule for the budget cpu'):
            plan_runs(['mdvsfa'], ['nudt'], budget='cpu')
        published = plan_runs(['adgfnet-lite'], ['nudt'], budget='gpu')[0].train_config()
        assert published.train_cfg.max_iters == 30000

    def test_options_come_after_the_budget(self):
        options = {'optim_wrapper.optimizer.lr': 0.123, 'model.train_cfg': {}}
        (run,) = plan_runs(['adgfnet-lite'], ['nudt'], budget='cpu', cfg_options=options)
        cfg = run.train_config()
        assert (cfg.train_cfg.max_iters, cfg.optim_wrapper.optimizer.lr) == (2200, 0.123)
        assert run.takes_fast_schedule
        assert not plan_runs(['sgem_unet-s'], ['nudt'], budget='cpu')[0].takes_fast_schedule

    @pytest.mark.parametrize(
        'arguments',
        [
            dict(models=['sgem_unet-s'], datasets=['nudt'], budget='cpu', amp=True),
            dict(
                models=['sgem_unet-s'],
                datasets=['nudt'],
                budget='gpu',
                cfg_options=['randomness.seed=3', 'log_level=INFO'],
            ),
            dict(models=['simir_repvit-fast_joint_no-nuaa'], datasets=['nuaa'], budget='cpu'),
            dict(models=['sgem_unet-s_joint'], datasets=['irstd1k'], weights='packaged'),
            dict(models=['alcnet'], datasets=['nuaa'], weights='data/weights/alcnet_nudt.pth'),
            dict(models=['sgem_unet-s_nudt'], datasets=['nuaa'], weights='data/weights/best.pth'),
            dict(models=['top-hat'], datasets=['nudt']),
        ],
    )
    def test_the_command_makes_the_run_again(self, arguments, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        (tmp_path / 'data/weights').mkdir(parents=True)
        for name in ('alcnet_nudt', 'best'):
            (tmp_path / f'data/weights/{name}.pth').write_bytes(b'x')
        (run,) = plan_runs(**arguments, data_root='data')
        parser = argparse.ArgumentParser()
        add_arguments(parser)
        given = vars(parser.parse_args(shlex.split(run.command)[2:]))
        chosen = {k: given[k] for k in ('models', 'datasets', 'budget', 'weights', 'amp', 'data_root', 'cfg_options')}
        assert plan_runs(**chosen) == [run]

    def test_weights_of_the_package(self):
        runs = plan_runs(['sgem_unet-s_joint'], ['nuaa', 'irstd1k'], weights='packaged')
        assert [r.name for r in runs] == [
            'packaged_sgem_unet-s_joint_on_nuaa', 'packaged_sgem_unet-s_joint_on_irstd1k'
        ]  # fmt: skip
        assert runs[0].weights == str(packaged_weights('sgem_unet-s_joint').path)
        cfg = runs[0].test_config()
        assert cfg.test_dataloader.dataset.type == 'mmirstd.NUAASIRSTDataset'
        assert cfg.test_dataloader.dataset.split == 'basicirstd/test'

    def test_a_set_that_training_leaves_out_is_tested_on(self):
        (run,) = plan_runs(['simir_repvit-fast_joint_no-nudt'], ['nudt'], budget='cpu')
        assert run.name == 'trained_cpu-simir_repvit-fast_joint_no-nudt_on_nudt'
        assert [d.type for _, d in iter_datasets(run.test_config(), ['test'])] == ['mmirstd.NUDTSIRSTDataset']
        trained_on = {d.type for _, d in iter_datasets(run.train_config(), ['train'])}
        assert trained_on == {f'mmirstd.{name}Dataset' for name in ('NUAASIRST', 'IRSTD1k', 'SyntheticIRSTD')}

    def test_a_network_keeps_its_own_pipeline_on_another_set(self):
        (run,) = plan_runs(['top-hat'], ['nuaa'])
        assert (run.kind, run.budget) == ('none', None)
        other = ReproductionRun(config='adgfnet-lite_nudt', dataset='irstd1k', kind='given').test_config()
        assert other.test_dataloader.dataset.type == 'mmirstd.IRSTD1kDataset'
        assert other.test_dataloader.dataset.pipeline[0]['channels'] == 1

    def test_files_that_others_published_are_known_by_name(self, tmp_path):
        for name in ('acm_sirst3', 'adgfnet-lite_nudt', 'unknown'):
            (tmp_path / f'{name}.pth').write_bytes(b'x')
        runs = plan_runs([], ['nudt'], weights=tmp_path, data_root='data')
        assert [(r.config, r.source) for r in runs] == [('acm-unet_nudt', 'acm'), ('adgfnet-lite_nudt', 'adgfnet')]
        assert runs[0].test_config().model.data_preprocessor.mean == [95.01]
        assert runs[0].trained_on == ('NUAA-SIRST', 'NUDT-SIRST', 'IRSTD-1k')
        assert str(tmp_path) not in runs[0].command
        (one,) = plan_runs(['acm-unet'], ['nudt'], weights=tmp_path)
        assert one == plan_runs([], ['nudt'], weights=tmp_path / 'acm_sirst3.pth')[0]

    @pytest.mark.parametrize(
        ('models', 'datasets', 'options', 'error', 'message'),
        [
            (['sgem_unet-s'], [], {'budget': 'cpu'}, ArgumentError, '--datasets: name at least one'),
            ([], ['nudt'], {'budget': 'cpu'}, ArgumentError, '--models: name at least one'),
            (['sgem_unet-s'], ['nudt'], {}, ArgumentError, 'sgem_unet-s is to be trained: --budget cpu or gpu'),
            (['sgem_unet-s'], ['nudt'], {'budget': 'tpu'}, ArgumentError, '--budget tpu: there are cpu and gpu'),
            (['sgem'], ['nudt'], {'budget': 'cpu'}, ConfigNotFoundError, 'sgem_nudt.*did you mean sgem_unet'),
            (['x'], ['nudt'], {'weights': 'packaged'}, ArgumentError, 'no weights of the package are called x'),
            ([], ['mars'], {'weights': 'packaged'}, ConfigNotFoundError, 'no dataset mars: there are .*nuaa'),
            ([], ['nudt'], {'weights': 'nowhere'}, ArgumentError, '--weights nowhere: there is no such file'),
            (['sgem_unet-s'], ['joint'], {'budget': 'cpu'}, ArgumentError, '--datasets joint: its test split has 3'),
            ([], ['joint'], {'weights': 'packaged'}, ArgumentError, '--datasets joint: its test split has 3'),
            ([], ['nudt'], {'weights': 'packaged', 'budget': 'cpu'}, ArgumentError, 'neither --budget nor --amp'),
        ],
    )
    def test_what_cannot_be_is_said_before_anything_begins(self, models, datasets, options, error, message):
        with pytest.raises(error, match=message):
            plan_runs(models, datasets, **options)

    def test_an_unknown_file_needs_its_model(self, tmp_path):
        (tmp_path / 'w.pth').write_bytes(b'x')
        with pytest.raises(ArgumentError, match='name the one model'):
            plan_runs([], ['nudt'], weights=tmp_path / 'w.pth')
        with pytest.raises(ArgumentError, match='holds none of acm_sirst3'):
            plan_runs([], ['nudt'], weights=tmp_path)


class TestRecords:
    def test_lists_take_one_line(self, tmp_path):
        whole = dict.fromkeys(
            ('name', 'model', 'config', 'config_sha256', 'dataset', 'split', 'weights', 'command', 'versions',
             'hardware', 'costs', 'testing', 'protocols', 'faults')
        )  # fmt: skip
        record = {'format': FORMAT, **whole, 'curves': {'thresholds': [0.1, 0.5], 'a': float('nan')}}
        write_record(tmp_path / 'r.json', record)
        assert '  "thresholds": [0.1, 0.5],\n' in (tmp_path / 'r.json').read_text()
        assert read_record(tmp_path / 'r.json')['curves'] == {'thresholds': [0.1, 0.5], 'a': None}
        write_record(tmp_path / 'r.json', record | {'format': FORMAT + 1})
        with pytest.raises(RecordError, match='has the format 2'):
            read_record(tmp_path / 'r.json')

    @pytest.mark.parametrize('text', ['', '[]', '{"format": 1}', '{'])
    def test_what_is_no_record_is_named(self, tmp_path, text):
        (tmp_path / 'r.json').write_text(text)
        with pytest.raises(RecordError, match=r'r\.json'):
            read_record(tmp_path / 'r.json')


def test_damaged_weights_fail_in_their_run_alone(here, tmp_path, monkeypatch):
    (tmp_path / 'acm_sirst3.pth').write_bytes(b'no weights')
    (outcome,) = reproduce([], ['nudt'], weights=tmp_path, out=tmp_path / 'out')
    assert outcome.state == 'failed'
    assert 'acm_sirst3.pth' in outcome.error
    assert CheckpointError.__name__ not in outcome.error


def test_the_command_line(here, call, tiny_config, tmp_path, capsys):
    tiny_config(name='tiny_own.py')
    options = ['--models', tmp_path / 'tiny', '--datasets', 'own', '--resamples', 0, '--workers', 0]
    assert call('reproduce', *options, '--budget', 'gpu', '--out', 'out') == 0
    assert '[1/1] trained_gpu-tiny_own_on_own: done' in capsys.readouterr().out
    assert call('reproduce', *options, '--budget', 'gpu', '--out', 'out') == 0
    assert ': skipped' in capsys.readouterr().out
