"""Saving predictions: names, values, and nothing replaced."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample

from mmirstd.engine import SavePredictionsHook
from mmirstd.evaluation.analysis.predictions import read_prediction
from mmirstd.io.names import sample_names
from mmirstd.registry import HOOKS


class Samples:
    """What the hook asks of a dataset."""

    def __init__(self, *ids):
        self.infos = [{'img_path': f'images/{n}_{i}.bmp', 'img_id': i} for n, i in enumerate(ids)]

    def __len__(self):
        return len(self.infos)

    def get_data_info(self, index):
        return self.infos[index]


def runner(samples):
    return SimpleNamespace(test_dataloader=SimpleNamespace(dataset=samples))


def output(info, probabilities):
    sample = SegDataSample(metainfo=info)
    if probabilities is not None:
        sample.seg_logits = PixelData(data=torch.as_tensor(probabilities))
    return sample


PROBABILITIES = np.array([[[0.0, 0.25], [0.5001, 1.0]]], np.float32)


@pytest.mark.parametrize(
    ('options', 'dtype', 'tolerance'),
    [
        ({}, torch.float32, 0.5 / 255),
        ({'out_format': 'npz'}, torch.float32, 0),
        ({'out_format': 'npz'}, torch.bfloat16, 1e-2),
        ({'out_format': 'npz', 'dtype': 'float16'}, torch.float32, 2**-11),
    ],
)
def test_writes_every_image_of_a_test(tmp_path, options, dtype, tolerance):
    samples = Samples('Misc_1', '41/1(297)')
    hook = HOOKS.build(dict(type='mmirstd.SavePredictionsHook', out_dir=str(tmp_path / 'out'), **options))
    hook.before_test_epoch(runner(samples))
    batch = [output(info, torch.as_tensor(PROBABILITIES).to(dtype)) for info in samples.infos]
    hook.after_test_iter(runner(samples), 0, {}, batch)
    extension = options.get('out_format', 'png')
    written = sorted(p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob('*') if p.is_file())
    assert written == [f'out/41/1(297).{extension}', f'out/Misc_1.{extension}']
    read = read_prediction(tmp_path / written[1])
    np.testing.assert_allclose(read, PROBABILITIES[0], atol=tolerance)
    if dtype != torch.bfloat16:
        np.testing.assert_array_equal(read > 0.5, PROBABILITIES[0] > 0.5)
    # The sampler of a distributed test repeats images to fill up.
    hook.after_test_iter(runner(samples), 1, {}, batch[:1])
    with pytest.raises(FileExistsError, match=r'Misc_1.* exist: choose another place'):
        hook.before_test_epoch(runner(samples))


def test_no_two_images_have_one_name():
    samples = Samples('a', '../b', 'a', 'c/d', 'c/d')
    assert list(sample_names(samples).values()) == ['000000_a', 'b', '000002_a', '000003_c_d', '000004_c_d']
    samples.infos = [{'img_path': 'images/x.png'}, {'img_path': 'y:?.png', 'img_id': 'y:?'}]
    assert list(sample_names(samples).values()) == ['x', 'y_']


@pytest.mark.parametrize(('probabilities', 'found'), [(None, 'got none'), (np.zeros((3, 3, 3)), r'got .*\(3, 3, 3\)')])
def test_needs_probabilities(tmp_path, probabilities, found):
    samples = Samples('a')
    hook = SavePredictionsHook(tmp_path)
    hook.before_test_epoch(runner(samples))
    with pytest.raises(ValueError, match=rf'images/0_a\.bmp: target probabilities need .*{found}'):
        hook.after_test_iter(runner(samples), 0, {}, [output(samples.infos[0], probabilities)])


@pytest.mark.parametrize('options', [{'out_format': 'jpg'}, {'dtype': 'float64'}])
def test_mistakes(tmp_path, options):
    with pytest.raises(ValueError, match=f'SavePredictionsHook: {next(iter(options))} must be'):
        SavePredictionsHook(tmp_path, **options)
