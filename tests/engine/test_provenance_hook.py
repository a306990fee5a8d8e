"""What checkpoints say of their training, and what is refused because of it, in real runs of seconds."""

import itertools
import json
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.runner import Runner

from mmirstd.engine import ProvenanceHook
from mmirstd.engine.provenance import OverlapError
from mmirstd.io.ids import digest
from mmirstd.registry import RUNNERS

# MMEngine names a run by the second, and two of one name share their logs.
NAMES = (f'provenance{i}' for i in itertools.count())
# Lists of the five tiny images: a trains, b validates, c tests; d has two of a and one of c.
LISTS = {'a': '012', 'b': '3', 'c': '4', 'd': '014', 'e': '2'}


@pytest.fixture
def make(tiny_config, tiny_data, tmp_path):
    for name, ids in LISTS.items():
        (tiny_data / f'{name}.txt').write_text('\n'.join(ids))

    def build(train='a', val='b', test='c', extra='', work_dir='run', allow=(), **changes):
        cfg = Config.fromfile(tiny_config(extra))
        for loader, name in (('train', train), ('val', val), ('test', test)):
            cfg[f'{loader}_dataloader'].dataset.ann_file = f'{name}.txt'
        cfg.allow_overlap = list(allow)
        cfg.train_cfg.max_iters = 2
        cfg.train_cfg.val_interval = 2
        cfg.default_hooks.checkpoint.interval = 2
        cfg.merge_from_dict({'work_dir': str(tmp_path / work_dir), 'experiment_name': next(NAMES), **changes})
        return RUNNERS.build(cfg)

    return build


@pytest.fixture
def trained(make, tmp_path):
    make(work_dir='first').train()
    return str(tmp_path / 'first/iter_2.pth')


def meta(path):
    return torch.load(path, weights_only=False)['meta']


def said(runner):
    """The log of a run."""
    return next(Path(runner.log_dir).glob('*.log')).read_text()


def test_every_checkpoint_says_what_it_was_trained_on(trained, tiny_data):
    for name in ('iter_2.pth', 'best_IoU_iter_2.pth'):
        content = meta(Path(trained).with_name(name))
        (entry,) = content['trained_on']
        assert (entry['dataset'], entry['name'], entry['num']) == ('tiny', 'a.txt', 3)
        assert entry['sha256'] == digest(['0', '1', '2'])
        assert entry['ids'] == ['0', '1', '2']
        assert 'allowed_overlaps' not in content
        assert content['mmirstd_version']


def test_testing_on_images_of_the_training_is_refused_before_the_first_batch(make, trained, tmp_path):
    figures = make(load_from=trained).test()
    assert not {'overlap', 'overlap_splits', 'training_splits'} & figures.keys()

    runner = make(test='d', load_from=trained)
    with pytest.raises(OverlapError, match=r'first/iter_2\.pth: 2 of 3 images of tiny d\.txt were trained on'):
        runner.test()
    assert not runner.started
    with pytest.raises(OverlapError):
        make(test='d', load_from=trained, allow=['other', 'tiny b.txt']).test()

    for allow in (['tiny'], ['tiny a.txt']):
        runner = make(test='d', load_from=trained, allow=allow, work_dir='marked')
        figures = runner.test()
        assert figures['overlap'] == 2
        assert figures['overlap_splits'] == '2 of 3 images of tiny d.txt were trained on (a.txt)'
        assert 'WARNING - OVERLAP, allowed by name: 2 of 3 images of tiny d.txt' in said(runner)
        (log,) = Path(runner.log_dir).glob('*.json')
        written = json.loads(log.read_text())
        assert (written['overlap'], written['overlap_splits']) == (2, figures['overlap_splits'])


def test_validation_without_training_is_refused_too(make, trained):
    no_hook = {'default_hooks.checkpoint': None}  # MMEngine's is for training only
    with pytest.raises(OverlapError, match=r'1 of 1 images of tiny e\.txt'):
        make(val='e', load_from=trained, **no_hook).val()
    assert make(val='e', load_from=trained, allow=['tiny'], **no_hook).val()['overlap'] == 1


@pytest.mark.parametrize(
    ('lists', 'message'),
    [
        (dict(val='e'), r'the training split of this config: 1 of 1 images of tiny e\.txt were trained on \(a\.txt\)'),
        (dict(test='d'), r'the training split of this config: 2 of 3 images of tiny d\.txt'),
        (dict(val='e', test='d'), r'1 of 1 images of tiny e\.txt .*; 2 of 3 images of tiny d\.txt'),
    ],
)
def test_a_config_whose_own_lists_overlap_is_refused(make, lists, message):
    runner = make(**lists)
    with pytest.raises(OverlapError, match=message):
        runner.train()
    assert not runner.started
    assert not runner.loads


def test_an_allowed_overlap_of_a_config_is_marked_wherever_it_goes(make, tmp_path):
    runner = make(val='e', allow=['tiny'])
    runner.train()
    text = '1 of 1 images of tiny e.txt were trained on (a.txt)'
    assert meta(tmp_path / 'run/iter_2.pth')['allowed_overlaps'] == [text]
    assert meta(tmp_path / 'run/best_IoU_iter_2.pth')['allowed_overlaps'] == [text]
    scalars = [json.loads(line) for line in next(Path(runner.log_dir).glob('vis_data/scalars.json')).open()]
    assert scalars[-1]['overlap'] == 1
    assert f'WARNING - overlap allowed: the training split of this config: {text}' in said(runner)

    runner = make(load_from=str(tmp_path / 'run/iter_2.pth'), work_dir='other')
    runner.test()
    assert f'WARNING - trained with overlaps allowed: {text}' in said(runner)
    assert 'OVERLAP' not in said(runner)  # the test itself is clean


def test_a_test_list_without_files_is_left_to_the_test(make):
    runner = make(**{'test_dataloader.dataset.data_root': 'nowhere'})
    runner.train()
    assert 'the test split of the config is not compared' in said(runner)


def test_starting_from_a_checkpoint_inherits_its_lists(make, trained, tmp_path):
    with pytest.raises(OverlapError, match=r'first/iter_2\.pth: 1 of 1 images of tiny e\.txt .*\(a\.txt\)'):
        make(train='c', val='e', test='b', load_from=trained).train()
    make(train='c', val='b', test='b', load_from=trained, work_dir='second').train()
    (entry,) = meta(tmp_path / 'second/iter_2.pth')['trained_on']
    assert (entry['name'], entry['num'], sorted(entry['ids'])) == ('a.txt + c.txt', 4, ['0', '1', '2', '4'])
    # Through two generations, and no list twice.
    second = str(tmp_path / 'second/iter_2.pth')
    with pytest.raises(OverlapError, match=r'\(a\.txt \+ c\.txt\)'):
        make(test='e', load_from=second).test()
    make(train='a', val='b', test='b', load_from=second, work_dir='third').train()
    (entry,) = meta(tmp_path / 'third/iter_2.pth')['trained_on']
    assert entry['num'] == 4


def test_resuming_inherits_and_checks(make, trained, tmp_path):
    more = {'train_cfg.max_iters': 4}
    with pytest.raises(OverlapError, match=r'first/iter_2\.pth: 1 of 1 images of tiny e\.txt'):
        make(train='c', val='e', test='b', extra='resume = True\n', load_from=trained, **more).train()
    make(extra='resume = True\n', work_dir='first', **more).train()
    assert meta(tmp_path / 'first/iter_4.pth')['trained_on'] == meta(trained)['trained_on']


INIT = "model['backbone']['init_cfg'] = dict(type='Pretrained', checkpoint={!r}, prefix='backbone')\n"


def test_init_cfg_inherits_and_checks(make, trained, tmp_path):
    runner = make(train='c', val='e', test='b', extra=INIT.format(trained))
    with pytest.raises(OverlapError, match=r'first/iter_2\.pth: 1 of 1 images of tiny e\.txt'):
        runner.train()
    assert not runner.started
    make(train='c', val='b', test='b', extra=INIT.format(trained), work_dir='second').train()
    (entry,) = meta(tmp_path / 'second/iter_2.pth')['trained_on']
    assert sorted(entry['ids']) == ['0', '1', '2', '4']
    # Another run of this process has nothing to do with it.
    make(train='c', val='b', test='b', work_dir='third').train()
    assert meta(tmp_path / 'third/iter_2.pth')['trained_on'][0]['ids'] == ['4']


def test_unknown_splits_are_marked_and_allowed(make, trained, tmp_path):
    content = torch.load(trained, weights_only=False)
    del content['meta']['trained_on']
    torch.save(content, trained)
    runner = make(load_from=trained)
    figures = runner.test()
    assert figures['training_splits'] == 'unknown: iter_2.pth'
    assert 'WARNING - training split unknown: iter_2.pth' in said(runner)
    torch.save(content | {'meta': None}, tmp_path / 'none.pth')
    assert make(load_from=str(tmp_path / 'none.pth')).test()['training_splits'] == 'unknown: none.pth'
    torch.save(content['state_dict'], tmp_path / 'bare.pth')
    assert make(load_from=str(tmp_path / 'bare.pth')).test()['training_splits'] == 'unknown: bare.pth'
    # What starts from it says so.
    make(extra=INIT.format(trained), work_dir='second').train()
    second = tmp_path / 'second/iter_2.pth'
    assert meta(second)['unknown_splits'] == ['iter_2.pth']
    assert [e['name'] for e in meta(second)['trained_on']] == ['a.txt']
    assert make(load_from=str(second)).test()['training_splits'] == 'unknown: iter_2.pth'


def test_training_and_testing_in_one_process(make):
    runner = make(test='d', allow=['tiny'])
    runner.train()
    assert runner.test()['overlap'] == 2
    # A test afterwards compares, too, when nobody looked at the test split before.
    runner = make(train='a', test='c')
    runner.train()
    runner._test_dataloader.dataset.ann_file = 'd.txt'
    with pytest.raises(OverlapError, match=r'2 of 3 images of tiny d\.txt'):
        runner.test()


def test_with_the_plain_runner(tiny_config, trained, make, tmp_path):
    cfg = make(test='d', load_from=trained).cfg
    cfg.custom_hooks = [dict(type='mmirstd.ProvenanceHook')]
    cfg.experiment_name = 'plain'
    # MMEngine's own loader takes the file as it is ours.
    with pytest.raises(OverlapError, match=r'2 of 3 images of tiny d\.txt'):
        Runner.from_cfg(cfg).test()


def test_the_hook_is_registered_once(make):
    for extra in ('', "custom_hooks = [dict(type='mmirstd.ProvenanceHook')]\n"):
        assert sum(isinstance(h, ProvenanceHook) for h in make(extra=extra).hooks) == 1


def test_allow_overlap_must_be_names(make):
    with pytest.raises(TypeError, match='allow_overlap must be a list of names'):
        make(allow_overlap=3).train()


def test_names_that_mean_nothing_are_said(make):
    runner = make(train='a', val='e', test='c', allow=['tiny a.txt', 'tinny', 'NUAA-SIRST idx_427/tran', 'IRDST'])
    runner.train()
    lines = [line for line in said(runner).splitlines() if 'names no dataset or split' in line]
    assert len(lines) == 2
    assert "allow_overlap: 'tinny' names" in lines[0]
    assert lines[0].endswith('did you mean tiny?')
    assert "'NUAA-SIRST idx_427/tran' names" in lines[1]
    assert lines[1].endswith('did you mean NUAA-SIRST idx_427/train?')
