"""Packing of samples: metadata, and the check of labels in the worker."""

import numpy as np
import pytest
from mmengine.registry import DefaultScope
from mmseg.datasets.transforms import PackSegInputs

from mmirstd.datasets.transforms import PackIRSTDInputs
from mmirstd.registry import TRANSFORMS


def sample(mask, **more):
    mask = np.asarray(mask)
    img = np.zeros((*mask.shape, 3), np.uint8)
    return {
        'img': img,
        'gt_seg_map': mask,
        'img_id': 'a',
        'img_path': 'images/a.png',
        'seg_map_path': 'masks/a.png',
    } | more


def test_as_mmsegmentation_packs_but_for_the_id():
    results = sample(np.uint8([[0, 1], [255, 0]]), flip=True, ori_shape=(2, 2), other=3)
    with DefaultScope.overwrite_default_scope('mmseg'):
        packed = TRANSFORMS.build({'type': 'mmirstd.PackIRSTDInputs'})(dict(results))
    expected = PackSegInputs()(dict(results))
    assert (packed['inputs'] == expected['inputs']).all()
    assert (packed['data_samples'].gt_sem_seg.data == expected['data_samples'].gt_sem_seg.data).all()
    assert packed['data_samples'].metainfo == expected['data_samples'].metainfo | {'img_id': 'a'}
    assert PackIRSTDInputs(meta_keys=['flip'])(dict(results))['data_samples'].metainfo == {'flip': True}


def test_samples_without_a_mask_are_packed():
    results = sample(np.uint8([[0]]))
    del results['gt_seg_map']
    assert 'gt_sem_seg' not in PackIRSTDInputs()(results)['data_samples']


@pytest.mark.parametrize('mask', [np.uint8([[0, 2]]), np.uint8([[0, 254], [1, 255]]), np.int64([[0, -1]])])
@pytest.mark.parametrize('key', ['gt_seg_map', 'gt_edge_map'])
def test_other_labels_are_refused_by_the_name_of_the_file(mask, key):
    labels = ', '.join(map(str, sorted(set(mask.ravel().tolist()))))
    with pytest.raises(ValueError, match=f'{key} of masks/a.png: labels {labels}; a target mask holds 0, 1 and 255'):
        PackIRSTDInputs()(sample(np.zeros_like(mask)) | {key: mask})
