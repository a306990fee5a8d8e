"""Pictures and predictions of a test replace no file that the test did not write."""

from types import SimpleNamespace

import pytest
from mmengine.visualization import Visualizer

from mmirstd.datasets import FolderDataset
from mmirstd.engine import IRSTDVisualizationHook, SavePredictionsHook


@pytest.fixture
def runner(tiny_data, own_mmengine_state):
    Visualizer.get_instance('outputs')
    dataset = FolderDataset(data_root=str(tiny_data), serialize_data=False, test_mode=True)
    return SimpleNamespace(test_dataloader=SimpleNamespace(dataset=dataset))


def drawing(folder, **kwargs):
    return IRSTDVisualizationHook(draw=True, show_dir=str(folder), **kwargs)


def saving(folder, **kwargs):
    return SavePredictionsHook(str(folder), **kwargs)


@pytest.mark.parametrize('hook', [drawing, saving])
def test_what_is_there_stays(hook, runner, tmp_path):
    hook(tmp_path / 'new').before_test_epoch(runner)
    (tmp_path / 'out').mkdir()
    (tmp_path / 'out/3.png').write_text('mine')
    with pytest.raises(FileExistsError, match=r'out/3\.png exists: .*--overwrite'):
        hook(tmp_path / 'out').before_test_epoch(runner)
    hook(tmp_path / 'out', overwrite=True).before_test_epoch(runner)


@pytest.mark.parametrize('hook', [drawing, saving])
@pytest.mark.parametrize('folder', ['images', 'masks'])
def test_the_set_that_is_read_stays_in_any_case(hook, folder, runner, tiny_data, tmp_path):
    (tmp_path / 'link').symlink_to(tiny_data / folder)
    for place in (tiny_data / folder, tmp_path / 'link'):
        for overwrite in (False, True):
            with pytest.raises(FileExistsError, match=r'0\.png, .*: would replace what is read here'):
                hook(place, overwrite=overwrite).before_test_epoch(runner)
