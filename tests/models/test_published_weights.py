"""Published weights give the IoU that was measured outside this project, on the same images.

Which, on what and how: ``PublishedWeights`` in ``configs/*/metafile.yml``.
``python tests/models/test_published_weights.py [PART_OF_A_NAME ...]`` prints the numbers, with MMIRSTD_DATA set.
"""

import os
import sys
from pathlib import Path

import pytest
import torch
from mmengine.dataset import pseudo_collate
from mmengine.evaluator import Evaluator
from mmengine.registry import DefaultScope
from mmseg.registry import DATASETS, MODELS

from mmirstd.apis.planned_run import ReproductionRun
from mmirstd.checkpoints.convert import convert_weights
from mmirstd.checkpoints.loading import load_checkpoint
from mmirstd.models.layers.reparam import switch_to_deploy
from mmirstd.utils import configs, metafiles
from mmirstd.utils.metafiles import DATASET_NAMES, MetafileError, published_weights

ENDINGS = {name: ending for ending, name in DATASET_NAMES.items()}
CASES = [(weights, dataset) for weights in published_weights() for dataset in weights.reference]


@torch.no_grad()
def metrics_of(data, weights, dataset):
    """Metrics of published weights on the images of their reference, in the way of ``mmirstd test``."""
    reference = weights.reference[dataset]
    run = ReproductionRun(
        config=weights.config,
        dataset=ENDINGS[dataset],
        kind='published',
        options={**weights.options, **reference.options},
        data_root=str(data),
    )
    cfg = run.test_config()
    pipeline = cfg.test_dataloader.dataset.pipeline
    if reference.size:
        scale = (reference.size, reference.size)
        pipeline.insert(-1, dict(type='Resize', scale=scale, backend=reference.backend))
    converted = convert_weights(weights.source, load_checkpoint(data / f'weights/{weights.name}.pth'))
    with DefaultScope.overwrite_default_scope('mmseg'):
        model = MODELS.build(cfg.model)
        model.load_state_dict(converted.state_dict, strict=True)
        switch_to_deploy(model.eval())
        samples = DATASETS.build(dict(cfg.test_dataloader.dataset, indices=reference.images))
        evaluator = Evaluator(cfg.test_evaluator)
        evaluator.dataset_meta = samples.metainfo
        kept = [i for i in range(len(samples)) if samples.get_data_info(i)['img_id'] not in reference.without]
        assert len(samples) - len(kept) == len(reference.without)
        for i in kept:
            sample = samples[i]
            sample['data_samples'].set_metainfo({'ori_shape': sample['data_samples'].gt_sem_seg.shape})
            batch = pseudo_collate([sample])
            evaluator.process(model.test_step(batch), batch)
        return evaluator.evaluate(len(kept))


@pytest.mark.exhaustive
@pytest.mark.parametrize(('weights', 'dataset'), CASES, ids=[f'{w.name}-{ENDINGS[d]}' for w, d in CASES])
def test_published_weights_give_the_measured_iou(weights, dataset, real_data):
    if not (real_data / f'weights/{weights.name}.pth').is_file():
        pytest.skip('no published weights')
    assert metrics_of(real_data, weights, dataset)['IoU'] == pytest.approx(weights.reference[dataset].iou, abs=1e-3)


def test_references_say_on_what_they_were_measured():
    references = {(w.name, ENDINGS[d]): w.reference[d] for w, d in CASES}
    assert len(references) == 18
    assert references['adgfnet_nudt', 'nudt'].conditions == 'first 120 images'
    assert references['acm_sirst3', 'nudt'].conditions == ''
    repisd = references['repisd_nuaa_deploy', 'nuaa']
    assert repisd.conditions == 'without Misc_111, at 256 x 256 by pillow, split idx_427/test'
    rdian = references['rdian_irdst', 'nuaa']
    assert rdian.iou == 0.374
    assert rdian.conditions == 'without Misc_111, test_divisor 32, test_pad_mode constant'


@pytest.mark.parametrize('entry', ['Reference: {NUDT-SIRST: {Images: 3}}', 'Reference: {NUDT-SIRST: 0.5}'])
def test_a_reference_without_iou_is_named(entry, tmp_path, monkeypatch):
    (tmp_path / 'a').mkdir()
    text = 'PublishedWeights:\n  - {Name: mine, Config: c, Source: acm, TrainedOn: [], ' + entry + '}\n'
    (tmp_path / 'a/metafile.yml').write_text(text)
    monkeypatch.setattr(configs, 'CONFIGS_DIR', tmp_path)
    with pytest.raises(MetafileError, match=r'a.metafile\.yml: PublishedWeights mine: '):
        published_weights()


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('Models: [', 'while parsing a flow node.*line 1'),
        ('', 'Collections, Models and PublishedWeights are expected, got None'),
        ('Models:\n  - {Name: mine}', "a model has no Config: {'Name': 'mine'}"),
        ('Collections:\n  - {Code: here}', "a collection has no Name: {'Code': 'here'}"),
    ],
)
def test_a_damaged_metafile_is_named(text, message, tmp_path, monkeypatch):
    (tmp_path / 'a').mkdir()
    (tmp_path / 'a/metafile.yml').write_text(text)
    monkeypatch.setattr(configs, 'CONFIGS_DIR', tmp_path)

    def read():
        configs.describe_configs()
        metafiles.collections()

    with pytest.raises(MetafileError, match=r'a.metafile\.yml: ' + message):
        read()


if __name__ == '__main__':
    for weights, dataset in CASES:
        name, reference = f'{weights.name} {ENDINGS[dataset]}', weights.reference[dataset]
        if all(part in name for part in sys.argv[1:]):
            got = metrics_of(Path(os.environ['MMIRSTD_DATA']), weights, dataset)
            of = f' ({reference.conditions})' if reference.conditions else ''
            print(f'{name}{of}: {reference.iou}', *(f'{key} {value:.4f}' for key, value in got.items()), flush=True)
