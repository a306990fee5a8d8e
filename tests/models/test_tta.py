"""Test-time augmentation against the mean of flipped predictions, worked out by hand."""

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope
from mmengine.structures import PixelData
from mmseg.models import SegTTAModel
from mmseg.structures import SegDataSample
from torch import nn

from mmirstd import apis
from mmirstd.apis import init_model, predict
from mmirstd.apis.tta import flip_pipeline, use_tta
from mmirstd.evaluation.analysis.predictions import read_prediction
from mmirstd.models.segmentors import IRSTDTTAModel, check_tta_model


class Module(nn.Module):
    """What is asked of a segmentor."""

    def __init__(self, out_channels=1, threshold=0.5):
        super().__init__()
        self.out_channels = out_channels
        self.decode_head = nn.Module()
        self.decode_head.threshold = threshold

    def test_step(self, data):
        return data


def version(values, flip=False, **meta):
    sample = SegDataSample(metainfo={'img_path': 'a.png', 'flip': flip, **meta})
    sample.seg_logits = PixelData(data=torch.as_tensor(values))
    sample.gt_sem_seg = PixelData(data=torch.full((1, 2, 2), int(flip)))
    return sample


def test_probabilities_are_averaged_into_all_fields():
    first, second = torch.rand(1, 2, 2), torch.rand(1, 2, 2)
    model = IRSTDTTAModel(Module(threshold=0.4))
    (merged,) = model.merge_preds([(version(first.half(), flip=True), version(second))])
    mean = (first.half().float() + second) / 2
    torch.testing.assert_close(merged.seg_logits.data, mean)
    assert merged.seg_logits.data.dtype == torch.float32
    torch.testing.assert_close(merged.pred_sem_seg.data, (mean > 0.4).float())
    assert merged.pred_sem_seg.data.shape == (1, 2, 2)
    assert merged.gt_sem_seg.data.max() == 0  # of the version that is not flipped


def test_logits_of_several_classes_become_probabilities():
    first, second = torch.randn(2, 2, 2), torch.randn(2, 2, 2)
    (merged,) = IRSTDTTAModel(Module(2)).merge_preds([(version(first), version(second, True))])
    mean = (first.softmax(0) + second.softmax(0)) / 2
    torch.testing.assert_close(merged.seg_logits.data, mean)
    torch.testing.assert_close(merged.pred_sem_seg.data, mean.argmax(0, keepdim=True))


def test_mistakes():
    model = IRSTDTTAModel(Module())
    lost = version(torch.zeros(1, 2, 2))
    lost = SegDataSample(metainfo={'img_path': 'a.png'}, seg_logits=lost.seg_logits)
    with pytest.raises(KeyError, match='needs flip and flip_direction in its meta_keys'):
        model.merge_preds([(version(torch.zeros(1, 2, 2)), lost)])
    with pytest.raises(ValueError, match=r'a\.png: versions of different sizes \[\(1, 2, 2\), \(1, 2, 3\)\]'):
        model.merge_preds([(version(torch.zeros(1, 2, 2)), version(torch.zeros(1, 2, 3)))])
    with pytest.raises(ValueError, match='SegTTAModel applies a sigmoid to the probabilities'):
        check_tta_model(SegTTAModel(Module()))
    check_tta_model(SegTTAModel(Module(2)))
    check_tta_model(model)


def test_the_pipeline_of_flips():
    pipeline = [{'type': 'Load'}, {'type': 'Mask'}, {'type': 'Pack', 'meta_keys': ('img_path',)}]
    load, augment = flip_pipeline(pipeline)
    assert load == {'type': 'Load'}
    flips, *rest = augment['transforms']
    assert [(f['prob'], f.get('direction')) for f in flips] == [(0, None), (1, 'horizontal'), (1, 'vertical')]
    assert rest == [[{'type': 'Mask'}], [{'type': 'Pack', 'meta_keys': ('img_path', 'flip', 'flip_direction')}]]
    assert pipeline[2]['meta_keys'] == ('img_path',)


def test_a_config_may_say_otherwise():
    own = [{'type': 'Load'}]
    data = {'dataset': {'type': 'X', 'pipeline': [{'type': 'Other'}]}}
    cfg = Config({'model': {'type': 'M'}, 'test_dataloader': data, 'tta_pipeline': own, 'tta_model': {'type': 'T'}})
    use_tta(cfg)
    assert cfg.model == {'type': 'T', 'module': {'type': 'M'}}
    assert cfg.test_dataloader.dataset.pipeline == own
    with pytest.raises(ValueError, match='--tta: the config has no test_dataloader'):
        use_tta(Config({'model': {}}))


def test_a_test_with_tta_saves_the_mean_of_flipped_predictions(call, tiny_config, tiny_checkpoint, tiny_data, capfd):
    config = tiny_config()
    places = ['--out', 'out', '--out-format', 'npz', '--work-dir', 'test', '--show-dir', 'pictures']
    batches = ['--cfg-options', 'test_dataloader.batch_size=4']
    assert call('test', config, tiny_checkpoint, '--tta', *places, *batches) is None
    assert 'nIoU' in capfd.readouterr().out
    model = init_model(config, tiny_checkpoint, 'cpu')
    for i in range(5):
        image = cv2.imread(str(tiny_data / f'images/{i}.png'))
        plain = predict(model, image).probability
        mirrored = predict(model, image[:, ::-1]).probability[:, ::-1]
        upside_down = predict(model, image[::-1]).probability[::-1]
        mean = (plain + mirrored + upside_down) / np.float32(3)
        np.testing.assert_allclose(read_prediction(tiny_data.parent / f'out/{i}.npz'), mean, atol=1e-5)
        assert np.abs(mean - plain).max() > 0.05
        assert (tiny_data.parent / f'pictures/{i}.png').exists()


def test_mmsegmentations_model_is_refused_before_the_first_image(call, tiny_config, tiny_checkpoint):
    config = tiny_config("tta_model = dict(type='SegTTAModel')")
    assert 'SegTTAModel applies a sigmoid' in call('test', config, tiny_checkpoint, '--tta', '--work-dir', 'test')
    with DefaultScope.overwrite_default_scope('mmseg'), pytest.raises(ValueError, match='applies a sigmoid'):
        apis.test(config, tiny_checkpoint, tta=True, work_dir='test')
