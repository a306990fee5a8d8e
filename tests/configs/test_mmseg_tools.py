"""MMSegmentation's own scripts, dataset wrappers and metric, with configs and data of this package."""

import json
import runpy
import sys
from pathlib import Path

import mmseg
import numpy as np
import pytest
from mmengine.registry import DefaultScope
from mmseg.registry import DATASETS
from PIL import Image

TOOLS = Path(mmseg.__file__).parent / '.mim/tools'
# Not in the order of the alphabet, as published splits are not.
IDS = ['3', '0', '4', '1', '2']
VISUALIZER = "visualizer = dict(type='mmirstd.IRSTDVisualizer', vis_backends=[dict(type='LocalVisBackend')])\n"


@pytest.fixture
def tool(monkeypatch, tmp_path):
    """Run a script as from the command line, in this process and in the test's folder."""
    monkeypatch.chdir(tmp_path)

    def run(name, *arguments):
        monkeypatch.setattr(sys, 'argv', [name, *map(str, arguments)])
        with DefaultScope.overwrite_default_scope('mmseg'):
            runpy.run_path(str(TOOLS / name), run_name='__main__')

    return run


@pytest.fixture
def config(tiny_config, tiny_data):
    (tiny_data / 'test.txt').write_text('\n'.join(IDS))
    return tiny_config(f"test_dataloader['dataset'].update(ann_file='test.txt')\n{VISUALIZER}", name='tools.py')


def masks(tiny_data):
    return [np.array(Image.open(tiny_data / f'masks/{i}.png')) > 127 for i in IDS]


def test_train(tool, config, tmp_path):
    tool('train.py', config, '--work-dir', tmp_path / 'work', '--cfg-options', 'train_cfg.max_iters=2')
    assert (tmp_path / 'work/iter_2.pth').is_file()


def test_test_writes_labels_of_which_confusion_matrix_counts_the_right_pairs(
    tool, config, tiny_checkpoint, tiny_data, tmp_path, monkeypatch
):
    out = tmp_path / 'labels'
    arguments = ('test.py', config, tiny_checkpoint, '--work-dir', tmp_path / 'work', '--out', out)
    tool(*arguments, '--show-dir', tmp_path / 'shown')
    written = sorted(out.iterdir())
    assert [p.name for p in written] == [f'{n:06d}_{i}.png' for n, i in enumerate(IDS)]
    labels = [np.array(Image.open(p)) for p in written]
    assert set(np.unique(labels)) == {0, 1}
    (result,) = (tmp_path / 'work').glob('*/*.json')
    found = json.loads(result.read_text())
    hits = sum((label & mask).sum() for label, mask in zip(labels, masks(tiny_data), strict=True))
    union = sum((label | mask).sum() for label, mask in zip(labels, masks(tiny_data), strict=True))
    assert found['IoU'] == pytest.approx(hits / union)
    assert len(list((tmp_path / 'shown').rglob('*.png'))) == 5
    with pytest.raises(FileExistsError, match='labels'):
        tool(*arguments)

    # With the masks in place of predictions, the matrix is diagonal only if every pair is the right one.
    for path, mask in zip(written, masks(tiny_data), strict=True):
        Image.fromarray(mask.astype(np.uint8)).save(path)
    counted = []
    monkeypatch.setattr(np, 'bincount', lambda *a, real=np.bincount, **k: counted.append(real(*a, **k)) or counted[-1])
    tool('analysis_tools/confusion_matrix.py', config, out, tmp_path / 'matrix')
    total = sum(c for c in counted if len(c) == 4)
    assert total.tolist() == [5 * 32 * 32 - 5 * 9, 0, 0, 5 * 9]
    assert (tmp_path / 'matrix/confusion_matrix.png').is_file()


def test_browse_dataset(tool, config, tmp_path):
    tool('analysis_tools/browse_dataset.py', config, '--not-show', '--output-dir', tmp_path / 'shown')
    assert sorted(p.name for p in (tmp_path / 'shown').iterdir()) == [f'{i}.png' for i in range(5)]


def test_benchmark_of_images_smaller_than_the_training_size(tool, tiny_config, tiny_checkpoint, tmp_path, capsys):
    """The script pads images as in training."""
    config = tiny_config(
        "model['data_preprocessor'] = dict(type='mmirstd.IRSTDDataPreProcessor', mean=[80.0] * 3, std=[40.0] * 3, "
        "size=(64, 64))\ntest_dataloader['dataset'] = dict(type='RepeatDataset', times=12, dataset=dataset)\n"
    )
    tool('analysis_tools/benchmark.py', config, tiny_checkpoint, '--log-interval', 10, '--work-dir', tmp_path / 'fps')
    assert 'Done image [60' in capsys.readouterr().out


def test_get_flops(tool, config, capsys):
    tool('analysis_tools/get_flops.py', config, '--shape', 64)
    said = capsys.readouterr().out
    assert 'Flops: ' in said
    assert 'Params: 0.913K' in said


def build(cfg):
    with DefaultScope.overwrite_default_scope('mmseg'):
        return DATASETS.build(cfg)


def test_wrappers_of_datasets(tiny_data):
    """Sets of several folders, empty masks and full ones."""
    Image.fromarray(np.zeros((32, 32), np.uint8)).save(tiny_data / 'masks/0.png')
    load = [dict(type='mmirstd.LoadIRImage'), dict(type='mmirstd.LoadTargetMask')]
    pack = dict(type='mmirstd.PackIRSTDInputs')
    folder = dict(type='mmirstd.FolderDataset', data_root=str(tiny_data), pipeline=load)
    scenes = dict(type='mmirstd.SyntheticIRSTDDataset', part='train', length=3, size=(32, 32), pipeline=load)
    both = build(dict(type='ConcatDataset', datasets=[folder, scenes]))
    assert [len(d) for d in both.datasets] == [5, 3]
    assert both[7]['gt_seg_map'].shape == (32, 32)
    assert [[d.get_cat_ids(i) for i in range(2)] for d in both.datasets] == [
        [[0], [0, 1]],
        [[0, 1], [0]],
    ]  # the second scene is empty
    # Targets are in 4 of 5 masks: at a threshold of 1 an image with one is repeated sqrt(1 / 0.8) times, rounded up.
    balanced = build(dict(type='ClassBalancedDataset', dataset=folder, oversample_thr=1.0))
    assert [balanced.repeat_indices.count(i) for i in range(5)] == [1, 2, 2, 2, 2]
    repeated = build(dict(type='RepeatDataset', times=2, dataset=folder))
    assert repeated[9]['img_path'] == repeated[4]['img_path']
    mixed = dict(type='MultiImageMixDataset', dataset=dict(type='ConcatDataset', datasets=[folder, scenes]))
    mosaic = [dict(type='RandomMosaic', prob=1.0, img_scale=(32, 32)), pack]
    packed = build(mixed | dict(pipeline=mosaic))[6]
    assert packed['inputs'].shape == (3, 64, 64)
    with pytest.raises(ValueError, match='tiny all: the pipeline loads no mask'):
        build(folder | dict(pipeline=load[:1])).get_cat_ids(0)


def test_a_head_of_two_logits_is_evaluated_by_presets_saved_and_drawn(call, tiny_config, tmp_path, tiny_data):
    """Its softmax is the probability: the mask above 0.5 is the class with the larger logit."""
    config = tiny_config(
        "model['decode_head'].update(out_channels=2, loss_decode=dict(type='CrossEntropyLoss'))\n"
        "val_evaluator.update(presets='all', prefix=None)\n"
        f"{VISUALIZER}default_hooks['visualization'] = dict(type='mmirstd.IRSTDVisualizationHook', draw=True)\n"
    )
    assert call('train', config, '--work-dir', 'work') is None
    test = ('test', config, 'work/iter_6.pth', '--work-dir', 'test', '--out', 'saved')
    assert call(*test, '--show-dir', 'shown') is None
    (result,) = (tmp_path / 'test').glob('*/*.json')
    found = json.loads(result.read_text())
    assert found['dnanet/IoU'] >= 0, sorted(found)
    assert len(list((tmp_path / 'shown').rglob('*.png'))) == 5
    saved = {p.stem: np.array(Image.open(p)) > 127 for p in (tmp_path / 'saved').iterdir()}
    truth = {p.stem: np.array(Image.open(p)) > 127 for p in (tiny_data / 'masks').iterdir()}
    hits, union = (sum(f(saved[i], truth[i]).sum() for i in truth) for f in (np.logical_and, np.logical_or))
    assert found['IoU'] == pytest.approx(hits / union)
