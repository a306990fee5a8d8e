"""Published weights give the IoU that was measured outside this project, on the same images.

``python tests/models/test_published_weights.py [PART_OF_A_NAME ...]`` prints the numbers, with MMIRSTD_DATA set.
"""

import os
import sys
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.evaluator import Evaluator
from mmengine.registry import DefaultScope
from mmseg.registry import DATASETS, MODELS

import mmirstd  # noqa: F401
from mmirstd.checkpoints.convert import convert_weights
from mmirstd.checkpoints.loading import load_checkpoint
from mmirstd.models.layers.reparam import switch_to_deploy

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = {'nuaa': 'NUAA-SIRST', 'nudt': 'NUDT-SIRST', 'irstd1k': 'IRSTD-1k'}
SIRST3 = dict(mean=[95.010], std=[41.511])
NUDT = dict(mean=[107.81], std=[33.02])
# As the reference padded. Our default, even sizes and no edge at the padding, gives 0.403 on NUAA-SIRST.
ZEROS = dict(test_divisor=32, test_pad_mode='constant')
# The reference has no Misc_111, whose mask has another size than its image.
LEFT_OUT = 'Misc_111'
# File, source of the conversion, config, test set, IoU, what differs from the config's preprocessor and, where not all
# were measured, the number of first images.
CASES = [
    ('acm_sirst3', 'acm', 'acm-unet', 'nudt', 0.574, SIRST3),
    ('acm_sirst3', 'acm', 'acm-unet', 'irstd1k', 0.575, SIRST3),
    ('acm_sirst3', 'acm', 'acm-unet', 'nuaa', 0.648, SIRST3),
    ('alcnet_sirst3', 'acm', 'alcnet', 'nudt', 0.633, SIRST3),
    ('alcnet_sirst3', 'acm', 'alcnet', 'irstd1k', 0.622, SIRST3),
    ('alcnet_sirst3', 'acm', 'alcnet', 'nuaa', 0.680, SIRST3),
    ('alcnet_nudt', 'acm', 'alcnet', 'nudt', 0.669, {}),
    ('rdian_irdst', 'rdian', 'rdian', 'nudt', 0.198, {}),
    ('rdian_irdst', 'rdian', 'rdian', 'nuaa', 0.374, ZEROS),
    ('adgfnet-lite_nudt', 'adgfnet', 'adgfnet-lite', 'nudt', 0.9368, {}),
    ('adgfnet-lite_nudt', 'adgfnet', 'adgfnet-lite', 'nuaa', 0.423, NUDT),
    ('adgfnet-lite_irstd1k', 'adgfnet', 'adgfnet-lite', 'irstd1k', 0.6649, {}),
    ('adgfnet_nudt', 'adgfnet', 'adgfnet', 'nudt', 0.964, {}, 120),
    ('l-rpcanet_nudt', 'rpcanet', 'l-rpcanet', 'nudt', 0.944, {}, 50),
    ('rpcanet_nudt', 'rpcanet', 'rpcanet', 'nudt', 0.894, {}),
    ('rpcanet_irstd1k', 'rpcanet', 'rpcanet', 'irstd1k', 0.636, {}),
    ('rpcanet_nuaa', 'rpcanet', 'rpcanet', 'nuaa', 0.718, {}),
]


@torch.no_grad()
def metrics_of(data, weights, source, config, dataset, differences, images=None):
    """Metrics of published weights on a test split, or on its first images, in the way of ``mmirstd test``."""
    cfg = Config.fromfile(ROOT / f'configs/baselines/{config}_{dataset}.py')
    cfg.model.data_preprocessor.update(differences)
    converted = convert_weights(source, load_checkpoint(data / f'weights/{weights}.pth'))
    with DefaultScope.overwrite_default_scope('mmseg'):
        model = MODELS.build(cfg.model)
        model.load_state_dict(converted.state_dict, strict=True)
        switch_to_deploy(model.eval())
        folder = str(data / FOLDERS[dataset])
        samples = DATASETS.build(dict(cfg.test_dataloader.dataset, data_root=folder, indices=images))
        evaluator = Evaluator(cfg.test_evaluator)
        evaluator.dataset_meta = samples.metainfo
        kept = [i for i in range(len(samples)) if samples.get_data_info(i)['img_id'] != LEFT_OUT]
        for i in kept:
            batch = pseudo_collate([samples[i]])
            evaluator.process(model.test_step(batch), batch)
        return evaluator.evaluate(len(kept))


@pytest.mark.exhaustive
@pytest.mark.parametrize('case', CASES, ids=lambda case: f'{case[0]}-{case[3]}')
def test_published_weights_give_the_measured_iou(case, real_data):
    weights, *names, iou, differences, images = (*case, None)[:7]
    if not (real_data / f'weights/{weights}.pth').is_file():
        pytest.skip('no published weights')
    assert metrics_of(real_data, weights, *names, differences, images)['IoU'] == pytest.approx(iou, abs=1e-3)


if __name__ == '__main__':
    for case in CASES:
        weights, *names, iou, differences, images = (*case, None)[:7]
        if all(part in f'{weights} {names[-1]}' for part in sys.argv[1:]):
            got = metrics_of(Path(os.environ['MMIRSTD_DATA']), weights, *names, differences, images)
            of = f' (first {images})' if images else ''
            print(
                f'{weights} {names[-1]}{of}: {iou}', *(f'{key} {value:.4f}' for key, value in got.items()), flush=True
            )
