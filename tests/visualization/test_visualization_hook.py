from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from mmengine.dataset import BaseDataset, ConcatDataset
from mmengine.model import BaseModel
from mmengine.registry import DefaultScope
from mmengine.runner import Runner
from mmengine.structures import PixelData
from mmengine.visualization import Visualizer
from mmseg.structures import SegDataSample
from PIL import Image

from mmirstd.datasets import SyntheticIRSTDDataset
from mmirstd.datasets.transforms import LoadIRImage
from mmirstd.engine.hooks import visualization_hook
from mmirstd.engine.hooks.visualization_hook import IRSTDVisualizationHook, shown_image
from mmirstd.io.names import sample_names
from mmirstd.visualization import draw_detections


def pixels(index, channels=3, size=32):
    """A color image, RGB."""
    rng = np.random.default_rng(index)
    image = rng.integers(0, 100, (size, size, channels), dtype=np.uint8)
    image[5 + index : 8 + index, 10:13] = 250
    return image


class Scenes(BaseDataset):
    """Images that exist in memory alone."""

    def __init__(self, ids, folder='synthetic', channels=3):
        self.ids, self.folder, self.channels = ids, folder, channels
        super().__init__(serialize_data=False)

    def load_data_list(self):
        return [{'img_path': f'{self.folder}/{name}.png', 'img_id': name} for name in self.ids]

    def __getitem__(self, index):
        info = self.get_data_info(index)
        image = pixels(index, self.channels)
        mask = (image[..., 0] >= 250).astype(np.int64)
        meta = {'img_path': info['img_path'], 'img_id': info['img_id'], 'ori_shape': mask.shape}
        sample = SegDataSample(metainfo=meta)
        sample.gt_sem_seg = PixelData(data=torch.from_numpy(mask)[None])
        return {
            'inputs': torch.from_numpy(image[..., ::-1].transpose(2, 0, 1).copy()),
            'data_samples': sample,
        }


class Oracle(BaseModel):
    """Predicts the ground truth."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))

    def forward(self, inputs, data_samples, mode):
        if mode == 'loss':
            return {'loss': self.weight * 0}
        for sample in data_samples:
            sample.pred_sem_seg = PixelData(data=sample.gt_sem_seg.data.float())
        return data_samples


def make_runner(folder, hook, dataset, batch_size=2, iterations=0):
    loader = {
        'batch_size': batch_size,
        'dataset': dataset,
        'sampler': {'type': 'DefaultSampler', 'shuffle': False},
        'collate_fn': {'type': 'pseudo_collate'},
    }
    training = {
        'train_dataloader': {**loader, 'sampler': {'type': 'InfiniteSampler'}},
        'train_cfg': {'type': 'IterBasedTrainLoop', 'max_iters': iterations, 'val_interval': iterations // 2},
        'optim_wrapper': {'optimizer': {'type': 'SGD', 'lr': 0.1}},
        'val_dataloader': loader,
        'val_cfg': {},
        'val_evaluator': {'type': 'mmirstd.IRSTDMetric'},
    }
    return Runner(
        model=Oracle(),
        work_dir=str(folder / 'work'),
        test_dataloader=loader,
        test_cfg={},
        test_evaluator={'type': 'mmirstd.IRSTDMetric'},
        custom_hooks=[{'type': 'mmirstd.IRSTDVisualizationHook', **hook}],
        visualizer={
            'type': 'mmirstd.IRSTDVisualizer',
            'vis_backends': [{'type': 'LocalVisBackend'}, {'type': 'TensorboardVisBackend'}],
            'name': folder.name,
        },
        default_scope='mmseg',
        experiment_name=folder.name,
        **(training if iterations else {}),
    )


@pytest.fixture(autouse=True)
def _scope():
    with DefaultScope.overwrite_default_scope('mmseg'):
        yield


def names(folder, pattern='**/*.png'):
    return sorted(path.name for path in folder.glob(pattern))


def read(path):
    return cv2.imread(str(path))[..., ::-1]


def expected(index, name, channels=3):
    image = pixels(index, channels)
    gt = (image[..., 0] >= 250).astype(np.uint8)
    return draw_detections(image, gt, gt, name=name)


@pytest.mark.parametrize('channels', [1, 3])
def test_a_test_draws_every_image_into_the_folder(tmp_path, channels):
    hook = {'draw': True, 'show_dir': str(tmp_path / 'shown')}
    runner = make_runner(tmp_path, hook, Scenes(['a', 'b', 'c'], channels=channels))
    assert runner.test()['IoU'] == 1
    assert names(tmp_path / 'shown') == ['a.png', 'b.png', 'c.png']
    np.testing.assert_array_equal(read(tmp_path / 'shown' / 'b.png'), expected(1, 'b', channels))
    assert not names(tmp_path / 'work')


def test_a_test_without_a_folder_uses_the_backends(tmp_path):
    runner = make_runner(tmp_path, {'draw': True}, Scenes(['a', 'b', 'c']))
    runner.test()
    assert names(tmp_path) == ['test_a_1.png', 'test_b_2.png', 'test_c_3.png']
    (path,) = tmp_path.glob('**/test_b_2.png')
    np.testing.assert_array_equal(read(path), expected(1, 'test_b'))


def test_training_draws_the_same_images_at_each_validation(tmp_path):
    scenes = Scenes([f'id{i}' for i in range(6)])
    make_runner(tmp_path, {'draw': True, 'interval': 2}, scenes, iterations=4).train()
    assert names(tmp_path) == ['val_id0_2.png', 'val_id0_4.png', 'val_id4_2.png', 'val_id4_4.png']
    assert len(list(tmp_path.glob('**/events.out*'))) == 1


def test_nothing_is_drawn_unless_asked_for(tmp_path):
    with pytest.warns(UserWarning, match='draw is False'):
        runner = make_runner(tmp_path, {'show_dir': str(tmp_path / 'shown')}, Scenes(['a']), iterations=2)
    runner.train()
    runner.test()
    assert not names(tmp_path)


def test_no_picture_replaces_another(tmp_path):
    both = ConcatDataset([Scenes(['a', 'b/1', 'b:1'], 'one'), Scenes(['a', 'c'], 'two')])
    assert list(sample_names(both).values()) == ['000000_a', 'b/1', 'b_1', '000003_a', 'c']
    make_runner(tmp_path, {'draw': True, 'show_dir': str(tmp_path / 'shown')}, both).test()
    assert len(names(tmp_path / 'shown')) == 5


def test_names_come_from_the_path_where_there_is_no_id():
    scenes = Scenes(['x', 'y'])
    for info in scenes.data_list:
        del info['img_id']
    assert sample_names(scenes) == {'synthetic/x.png': 'x', 'synthetic/y.png': 'y'}


def test_other_processes_write_to_the_folder_alone(tmp_path, monkeypatch):
    drawn = []
    hook = IRSTDVisualizationHook(draw=True)
    monkeypatch.setattr(visualization_hook, 'is_main_process', lambda: False)
    monkeypatch.setattr(hook, '_visualizer', SimpleNamespace(add_datasample=lambda *args, **kw: drawn.append(kw)))
    dataset = Scenes(['a'])
    runner = SimpleNamespace(test_dataloader=SimpleNamespace(dataset=dataset), iter=0)
    hook.before_test_epoch(runner)
    packed = dataset[0]
    batch = {'inputs': [packed['inputs']], 'data_samples': [packed['data_samples']]}
    hook.after_test_iter(runner, 0, batch, batch['data_samples'])
    hook.after_val_iter(runner, 0, batch, batch['data_samples'])
    assert not drawn
    hook.show_dir = str(tmp_path)
    hook.after_test_iter(runner, 0, batch, batch['data_samples'])
    assert [kw['out_file'] for kw in drawn] == [str(tmp_path / 'a.png')]


@pytest.mark.parametrize('mode', ['L', 'RGB', 'RGBA', 'P', 'LA', 'I;16', 'F', '1'])
def test_the_loader_reads_the_file_where_the_batch_has_another_size(tmp_path, mode):
    gray = np.linspace(0, 255, 35, dtype=np.uint8).reshape(5, 7)
    suffix = 'png'
    if mode == 'I;16':
        image = Image.fromarray(gray.astype(np.uint16) * 200)
    elif mode == 'F':
        image, suffix = Image.fromarray(gray / np.float32(255)), 'tif'
    elif mode in ('RGB', 'RGBA'):
        image = Image.fromarray(np.stack([gray, gray // 2, 255 - gray], 2)).convert(mode)
    else:
        image = Image.fromarray(gray).convert(mode)
    # Deep files are brought to 0..255, where their values have been.
    values = gray if mode in ('I;16', 'F') else np.array(image.convert('RGB'))
    path = tmp_path / f'image.{suffix}'
    image.save(path)
    load = LoadIRImage()
    for packed in (torch.zeros(3, 6, 7), None, torch.zeros(5, 5, 7)):
        shown = shown_image(packed, (5, 7), str(path), load)
        np.testing.assert_array_equal(shown, np.broadcast_to(values.reshape(5, 7, -1), (5, 7, 3)))
    assert shown_image(torch.ones(3, 5, 7), (5, 7), str(path), load).mean() == 1
    path.unlink()
    with pytest.raises(FileNotFoundError, match=path.name):
        shown_image(None, (5, 7), str(path), load)


@pytest.fixture
def drawn(monkeypatch):
    """Names and images that hooks hand to the visualizer."""
    calls = []
    recorder = SimpleNamespace(add_datasample=lambda *args, **kw: calls.append(args))
    monkeypatch.setattr(Visualizer, 'get_current_instance', lambda: recorder)
    return calls


@pytest.mark.parametrize('tta', [False, True])
def test_a_test_on_scenes_without_files_draws_them(call, tiny_config, tiny_checkpoint, tmp_path, tta):
    config = tiny_config("""
        scenes = dict(type='mmirstd.SyntheticIRSTDDataset', length=3, size=(64, 64), pipeline=pipeline, test_mode=True)
        test_dataloader = dict(
            batch_size=2, num_workers=0, sampler=dict(type='DefaultSampler', shuffle=False), dataset=scenes
        )
        """)
    places = ['--show-dir', 'pictures', '--work-dir', 'test']
    assert call('test', config, tiny_checkpoint, *places, *(['--tta'] if tta else [])) is None
    assert names(tmp_path / 'pictures') == ['000001.png', '000002.png', '000003.png']


@pytest.mark.parametrize(
    'inputs', [torch.zeros(2, 4, 64, 64), torch.zeros(2, 3, 96, 96), [[torch.zeros(3, 64, 64)] * 2]]
)
def test_scenes_without_files_are_rendered_again(drawn, inputs):
    """Where the batch holds them with more channels, in another size, or flipped alone."""
    parts = [SyntheticIRSTDDataset(length=2, size=(64, 64), part='test', seed=seed) for seed in (0, 1)]
    hook = IRSTDVisualizationHook(draw=True)
    runner = SimpleNamespace(test_dataloader=SimpleNamespace(dataset=ConcatDataset(parts)))
    hook.before_test_epoch(runner)
    infos = [part.get_data_info(1) for part in parts]
    outputs = [SegDataSample(metainfo={'img_path': i['img_path'], 'ori_shape': (64, 64), 'flip': True}) for i in infos]
    hook.after_test_iter(runner, 0, {'inputs': inputs, 'data_samples': [outputs]}, outputs)
    assert [name for name, _ in drawn] == ['test_000001_000002', 'test_000003_000002']
    for part, (_, image) in zip(parts, drawn, strict=True):
        np.testing.assert_array_equal(image[..., 0], part.pipeline_input(1)['img'])


def test_of_several_versions_that_which_is_not_flipped_is_drawn(drawn):
    hook = IRSTDVisualizationHook(draw=True)
    dataset = Scenes(['a', 'b'])
    runner = SimpleNamespace(test_dataloader=SimpleNamespace(dataset=dataset))
    hook.before_test_epoch(runner)
    plain, flipped = ([dataset[i] for i in range(2)] for _ in range(2))
    for sample, turned in zip(plain, flipped, strict=True):
        sample['data_samples'].set_metainfo({'flip': False})
        turned['data_samples'].set_metainfo({'flip': True})
        turned['inputs'] = turned['inputs'].flip(-1)
    batch = {key: [[sample[key] for sample in version] for version in (flipped, plain)] for key in plain[0]}
    hook.after_test_iter(runner, 0, batch, [sample['data_samples'] for sample in plain])
    for i, (_, image) in enumerate(drawn):
        np.testing.assert_array_equal(image, pixels(i))
    assert len(drawn) == 2


def test_the_loader_is_that_of_the_pipeline():
    Visualizer.get_instance('loader')  # the hook asks for the present one
    hook = IRSTDVisualizationHook(draw=True)
    scenes = Scenes(['a'])
    load = LoadIRImage(normalize='percentile')
    scenes.pipeline.transforms.append(load)
    hook.before_test_epoch(SimpleNamespace(test_dataloader=SimpleNamespace(dataset=ConcatDataset([scenes]))))
    assert hook._load is load


def test_bad_interval_is_refused():
    with pytest.raises(ValueError, match='interval must be at least 1, not 0'):
        IRSTDVisualizationHook(draw=True, interval=0)
