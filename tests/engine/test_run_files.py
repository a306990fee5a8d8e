"""A run deletes, chooses and resumes only files of its own folder that it wrote itself."""

import itertools
import shutil
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import CheckpointHook

from mmirstd.checkpoints.loading import latest_checkpoint, read_meta
from mmirstd.checkpoints.state_dict import CheckpointError
from mmirstd.engine.run_files import half_written, marked, may_replace, was_written_by
from mmirstd.registry import RUNNERS

PLAIN = "default_hooks.update(checkpoint=dict(type='CheckpointHook', by_epoch=False, interval=3, save_best='IoU'))\n"
NAMES = (f'files{i}' for i in itertools.count())


@pytest.fixture
def make(tiny_config, tmp_path):
    def build(work_dir, extra='', **changes):
        cfg = Config.fromfile(tiny_config('default_hooks.update(visualization=dict(draw=False))\n' + extra))
        cfg.merge_from_dict({'work_dir': str(tmp_path / work_dir), 'experiment_name': next(NAMES), **changes})
        runner = RUNNERS.build(cfg)
        runner.said = []
        runner.logger.warning = runner.said.append
        return runner

    return build


@pytest.fixture
def begun(make, tmp_path):
    """A run of three iterations of six in ``a``: iter_3.pth, and the best so far."""
    make('a', **{'train_cfg.max_iters': 3}).train()
    assert names(tmp_path / 'a') == ['best_IoU_iter_3.pth', 'iter_3.pth']
    return tmp_path / 'a/iter_3.pth'


def names(folder):
    return sorted(p.name for p in Path(folder).glob('*.pth'))


def files(folder):
    return {p.relative_to(folder): p.read_bytes() for p in sorted(Path(folder).rglob('*')) if p.is_file()}


def change(path, edit):
    content = torch.load(path, weights_only=False)
    edit(content, content['message_hub']['runtime_info'])
    torch.save(content, path)


def always_better(path):
    change(path, lambda content, info: info.update(best_score=-1.0))


def test_another_runs_checkpoint_is_resumed_and_its_files_stay(make, begun, tmp_path):
    always_better(begun)
    before = files(tmp_path / 'a')
    run = make('b', 'resume = True\n', load_from=str(begun))
    run.train()
    assert files(tmp_path / 'a') == before
    assert names(tmp_path / 'b') == ['best_IoU_iter_6.pth', 'iter_6.pth']
    [line] = [text for text in run.said if 'best checkpoint' in text]
    assert line.startswith(str(tmp_path / 'a/best_IoU_iter_3.pth'))
    assert 'It stays as it is, and the best score of this run starts anew' in line
    assert read_meta(tmp_path / 'b/iter_6.pth')['run_id'] != read_meta(begun)['run_id']


@pytest.mark.parametrize('copied', [False, True], ids=['moved', 'copied'])
@pytest.mark.parametrize('hook', ['', PLAIN], ids=['own hook', "MMEngine's hook"])
def test_a_work_dir_elsewhere_is_worth_the_original(make, begun, tmp_path, copied, hook):
    always_better(begun)
    (shutil.copytree if copied else shutil.move)(tmp_path / 'a', tmp_path / 'elsewhere')
    before = files(tmp_path / 'a') if copied else None
    run = make('elsewhere', hook + 'resume = True\n')
    run.train()
    assert run._load_from == str(tmp_path / 'elsewhere/iter_3.pth')
    assert [n for n in names(tmp_path / 'elsewhere') if n.startswith('best')] == ['best_IoU_iter_6.pth']
    assert not run.said
    if copied:
        assert files(tmp_path / 'a') == before
    else:
        assert not (tmp_path / 'a').exists()


@pytest.mark.parametrize('hook', ['', PLAIN], ids=['own hook', "MMEngine's hook"])
def test_names_in_a_checkpoint_delete_nothing(make, begun, tmp_path, hook):
    """Files by any path, whole folders, and files in the work dir that this run did not write."""
    outside = tmp_path / 'outside'
    (outside / 'folder').mkdir(parents=True)
    for place in (outside, outside / 'folder', begun.parent):
        (place / 'data.txt').write_text('mine')
    for name in ('best_IoU_iter_2.pth', 'iter_1.pth', 'iter_2.pth'):
        torch.save({'state_dict': {}, 'meta': {'run_id': 'another'}}, begun.parent / name)
    (begun.parent / '.notes.tmp').write_text('mine')

    def attack(content, info):
        content['meta']['outdated'] = [
            str(outside / 'data.txt'), '../outside/data.txt', 'data.txt', 'iter_2.pth', str(outside / 'folder'), '..',
        ]  # fmt: skip
        info.update(best_ckpt=str(outside / 'folder'), last_ckpt=str(outside / 'data.txt'), best_score=-1.0)
        info['keep_ckpt_ids'] = [1, 2]

    change(begun, attack)
    before = {k: v for k, v in files(begun.parent).items() if k.name not in ('last_checkpoint', 'tiny.py')}
    others = files(outside)
    run = make('a', hook + 'default_hooks["checkpoint"].update(max_keep_ckpts=1)\nresume = True\n')
    run.train()
    assert files(outside) == others
    after = files(begun.parent)
    # Two runs that begin in one second share the folder of their logs.
    kept = {
        k: v
        for k, v in before.items()
        if k.name not in ('iter_3.pth', 'best_IoU_iter_3.pth') and k.suffix not in ('.json', '.log', '.py')
    }
    assert kept == {k: after[k] for k in kept}
    assert 'best_IoU_iter_6.pth' in names(begun.parent)


def test_a_best_checkpoint_that_is_named_but_not_the_runs_own(make, begun, tmp_path):
    torch.save({'state_dict': {}, 'meta': {'run_id': 'another'}}, begun.parent / 'best_IoU_iter_2.pth')
    change(begun, lambda content, info: info.update(best_ckpt='best_IoU_iter_2.pth', best_score=-1.0))
    make('a', 'resume = True\n').train()
    assert 'best_IoU_iter_2.pth' in names(tmp_path / 'a')


def test_an_outdated_file_that_is_named_twice_is_removed_once(make, begun, tmp_path):
    shutil.copy(begun, begun.parent / 'iter_1.pth')
    change(begun, lambda content, info: content['meta'].update(outdated=['iter_1.pth', '/moved/from/iter_1.pth']))
    make('a', 'resume = True\n').train()
    assert 'iter_1.pth' not in names(tmp_path / 'a')


def test_what_a_checkpoint_needs_is_never_outdated(make, begun, tmp_path):
    change(begun, lambda content, info: content['meta'].update(outdated=['best_IoU_iter_3.pth', 'iter_3.pth']))
    (tmp_path / 'a/.tiny.py.12.tmp').write_text('half')
    run = make('a', 'resume = True\ndefault_hooks["checkpoint"].update(max_keep_ckpts=-1)\n')
    run.train()
    assert 'iter_3.pth' in names(tmp_path / 'a')
    assert Path(run.message_hub.get_info('best_ckpt')).is_file()
    assert not (tmp_path / 'a/.tiny.py.12.tmp').exists()


def test_runs_of_one_name_in_one_process(make, begun, tmp_path):
    """MMEngine gives them one message hub, in which the first leaves the name of its best checkpoint."""
    run = make('b')
    run.message_hub.update_info('best_ckpt', str(tmp_path / 'a/best_IoU_iter_3.pth'))
    run.message_hub.update_info('best_score', -1.0)
    run.train()
    assert 'best_IoU_iter_3.pth' in names(tmp_path / 'a')


def test_the_newest_checkpoint_is_one_of_the_folder(begun, tmp_path):
    shutil.copytree(tmp_path / 'a', tmp_path / 'copy')
    line = tmp_path / 'copy/last_checkpoint'
    for named in (str(begun), 'C:\\runs\\iter_3.pth', '../a/iter_3.pth', 'iter_3.pth\n'):
        line.write_text(named)
        assert latest_checkpoint(str(tmp_path / 'copy')) == str(tmp_path / 'copy/iter_3.pth')
    for named in ('/etc/passwd', '..', '/', 'a\0b', '\udcff', 'x' * 10**5):
        line.write_bytes(named.encode(errors='surrogateescape'))
        with pytest.raises(CheckpointError, match='which is not there'):
            latest_checkpoint(str(tmp_path / 'copy'))
    line.write_text('')  # killed at that moment
    assert latest_checkpoint(str(tmp_path / 'copy')) == str(tmp_path / 'copy/iter_3.pth')
    torch.save({'state_dict': {}, 'meta': {'run_id': 'another'}}, tmp_path / 'copy/iter_99.pth')
    with pytest.raises(CheckpointError, match='holds checkpoints of 2 runs and no last_checkpoint: name one to resume'):
        latest_checkpoint(str(tmp_path / 'copy'))


def test_checkpoints_in_a_folder_of_their_own(make, tmp_path):
    """`out_dir` of the hook; MMEngine keeps `last_checkpoint` in the work dir."""
    out = f'default_hooks["checkpoint"].update(out_dir={str(tmp_path / "store")!r})\n'
    make('a', out, **{'train_cfg.max_iters': 3}).train()
    assert 'iter_3.pth' in names(tmp_path / 'store/a')
    run = make('a', out + 'resume = True\n')
    run.train()
    assert run._load_from == str(tmp_path / 'store/a/iter_3.pth')
    assert 'iter_6.pth' in names(tmp_path / 'store/a')


def test_what_a_run_wrote(begun, tmp_path):
    own = read_meta(begun)['run_id']
    assert was_written_by(own, str(begun))
    assert not was_written_by(None, str(begun))
    assert not was_written_by('other', str(begun))
    (tmp_path / 'link.pth').symlink_to(begun)
    (tmp_path / 'text.pth').write_text('text')
    for name in ('link.pth', 'text.pth', 'none.pth', 'a'):
        assert not was_written_by(own, str(tmp_path / name))
    for name in ('.iter_3.pth.12.tmp', '.notes.tmp', 'iter_3.pth.12.tmp', '.iter_3.pth.tmp'):
        (tmp_path / name).touch()
    assert half_written(tmp_path) == [tmp_path / '.iter_3.pth.12.tmp']


def test_a_config_in_the_work_dir_is_not_replaced(make, tmp_path):
    """The work dir may be the folder of the config itself."""
    run = make('.', '# the last line\n')
    assert (tmp_path / 'tiny.py').read_text().endswith('# the last line\n')
    dumped = Path(run.log_dir, 'tiny.py')
    assert may_replace(dumped)
    assert Config.fromfile(dumped).model == run.cfg.model


def test_a_config_that_a_run_wrote_is_replaced_while_nobody_changed_it(make, tmp_path):
    make('a')
    path = tmp_path / 'a/tiny.py'
    first = path.read_text()
    make('a', **{'train_cfg.max_iters': 4})
    assert path.read_text() != first
    path.write_text(path.read_text() + '# mine\n')
    make('a')
    assert path.read_text().endswith('# mine\n')
    assert not may_replace(path)
    assert may_replace(tmp_path / 'none.py')
    path.write_bytes(b'\xff')
    assert not may_replace(path)
    path.write_text(marked('a = 1\n'))
    assert may_replace(path)


def test_mmengines_hook_is_given_its_own_names_only(make, begun, tmp_path):
    run = make('b', PLAIN + 'resume = True\n', load_from=str(begun))
    run.train()
    [hook] = [h for h in run.hooks if isinstance(h, CheckpointHook)]
    assert type(hook) is CheckpointHook
    assert Path(hook.best_ckpt_path).parent == tmp_path / 'b'
