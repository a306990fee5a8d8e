import numpy as np
import pytest
from mmengine.registry import DefaultScope
from PIL import Image
from scipy import ndimage

from mmirstd.datasets import FolderDataset
from mmirstd.datasets.transforms import CopyPasteTargets, LoadIRImage, LoadTargetMask
from mmirstd.datasets.transforms.copy_paste import TargetPatch, add_target, cut_target
from mmirstd.registry import DATASETS, TRANSFORMS

# ruff: noqa: NPY002 - the transforms draw from numpy's global generator


@pytest.fixture(autouse=True)
def seed():
    np.random.seed(0)


def blob(shape, center, sigma=1.2, height=100.0):
    y, x = np.indices(shape)
    return height * np.exp(-((y - center[0]) ** 2 + (x - center[1]) ** 2) / (2 * sigma**2))


def scene(shape=(80, 90), centers=((40, 45),), noise=1.0, channels=3, seed=1):
    """A tilted plane with noise and point targets; masks hold the pixels above a third of the peak."""
    rng = np.random.default_rng(seed)
    y, x = np.indices(shape)
    light = sum((blob(shape, c) for c in centers), np.zeros(shape))
    img = 60 + 0.3 * y + 0.2 * x + light + noise * rng.standard_normal(shape)
    return {
        'img': np.rint(img).clip(0, 255).astype(np.uint8)[..., None].repeat(channels, axis=2),
        'gt_seg_map': (light > 33).astype(np.uint8),
        'seg_fields': ['gt_seg_map'],
    }


def count(mask):
    return ndimage.label(mask == 1, np.ones((3, 3)))[1]


def test_cut_recovers_a_target_from_a_tilted_plane():
    shape = 17, 19
    y, x = np.indices(shape)
    light = blob(shape, (8, 9))
    mask = light > 33
    img = (np.float64([50, 60, 70]) + (2 * y - 3 * x)[..., None] + light[..., None]).astype(np.float32)
    patch = cut_target(img, mask, halo=4)
    assert patch.residual.dtype == np.float32
    np.testing.assert_allclose(patch.residual[mask], light[mask][:, None].repeat(3, axis=1), atol=0.5)
    assert np.abs(patch.residual[[0, -1]]).max() == np.abs(patch.residual[:, [0, -1]]).max() == 0
    # the halo comes along: a pixel beside the mask keeps most of its light
    beside = (8, 9 + int(mask[8].sum()) // 2 + 1)
    assert not mask[beside]
    assert 0.8 < patch.residual[beside][0] / light[beside] < 1


def test_add_clips_rounds_and_refuses_what_cannot_be_seen():
    mask = np.zeros((9, 9), bool)
    mask[3:6, 3:6] = True
    patch = TargetPatch(np.where(mask[..., None], np.float32(50.4), np.float32(0)), mask)
    dark = np.full((9, 9, 1), 100, np.uint8)
    new = add_target(dark, patch)
    assert new.dtype == np.uint8
    assert set(new[mask].ravel()) == {150}
    assert set(new[~mask].ravel()) == {100}
    assert add_target(dark + np.uint8(120), patch).max() == 255
    assert add_target(dark + np.uint8(150), patch) is None
    floats = add_target(dark.astype(np.float32), patch)
    assert floats.dtype == np.float32
    assert floats.max() == np.float32(150.4)
    deep = add_target(np.full((9, 9, 1), 65530, np.uint16), TargetPatch(patch.residual * -100, mask))
    assert deep.dtype == np.uint16
    assert deep.min() == 65530 - 5040
    noisy = np.random.default_rng(0).integers(60, 140, (9, 9, 1), dtype=np.uint8)
    ratio = 50 / noisy.std()
    assert add_target(noisy, patch, min_scr=ratio * 0.9) is not None
    assert add_target(noisy, patch, min_scr=ratio * 1.1) is None


@pytest.mark.parametrize('channels', [1, 3])
def test_pasted_targets_are_new_separate_and_visible(channels):
    paste = CopyPasteTargets(prob=1, max_num=3, other_prob=0)
    added = []
    for i in range(60):
        before = scene(channels=channels, seed=i)
        img, mask = before['img'].copy(), before['gt_seg_map'].copy()
        after = paste(dict(before))
        np.testing.assert_array_equal(before['img'], img)
        np.testing.assert_array_equal(before['gt_seg_map'], mask)
        new = (after['gt_seg_map'] == 1) & (mask == 0)
        assert (after['gt_seg_map'][mask == 1] == 1).all()
        assert after['img'].dtype == np.uint8
        assert after['img'].shape == img.shape
        added.append(count(after['gt_seg_map']) - 1)
        # a pasted target has the size of the one it comes from, and its own halo of 4 pixels
        assert new.sum() == added[-1] * mask.sum()
        assert count(ndimage.binary_dilation(after['gt_seg_map'], np.ones((3, 3)))) == 1 + added[-1]
        changed = (after['img'] != img).any(axis=2)
        assert not (changed & (ndimage.distance_transform_edt(~new) > 5)).any()
        assert not changed[mask == 1].any()
        difference = after['img'].astype(int)[new] - img[new]
        assert 30 < difference.mean() < 90
    assert set(added) == {1, 2, 3}


def test_contrast_follows_the_gain():
    for gain in (0.5, 1.0, 1.5):
        before = scene(noise=0)
        after = CopyPasteTargets(prob=1, max_num=1, other_prob=0, gain=(gain, gain))(dict(before))
        new = after['gt_seg_map'] != before['gt_seg_map']
        light = blob((80, 90), (40, 45))
        contrast = (after['img'].astype(int) - before['img'])[new].mean()
        assert contrast == pytest.approx(gain * light[light > 33].mean(), abs=1.5)


def test_flip_and_rotation():
    """An L-shaped target appears in its 8 poses, or in its own alone."""
    shape = np.zeros((60, 60), np.uint8)
    shape[20:26, 20] = shape[25, 20:24] = 1
    img = (50 + 100 * shape)[..., None]

    def poses(**options):
        seen = set()
        paste = CopyPasteTargets(prob=1, max_num=1, other_prob=0, gain=(1, 1), **options)
        for _ in range(150):
            new = paste({'img': img, 'gt_seg_map': shape, 'seg_fields': []})['gt_seg_map'] ^ shape
            box = ndimage.find_objects(new)[0]
            seen.add((new[box].shape, new[box].tobytes()))
        return seen

    assert len(poses()) == 8
    assert len(poses(flip=False)) == 4
    assert len(poses(rotate=False)) == 4
    assert poses(flip=False, rotate=False) == {((6, 4), shape[20:26, 20:24].tobytes())}


def test_places_without_room_are_left_alone():
    paste = CopyPasteTargets(prob=1, max_num=3, other_prob=0)
    ignored = scene()
    ignored['gt_seg_map'][ignored['gt_seg_map'] == 0] = 255
    ignored['gt_seg_map'][30:50, 35:55][ignored['gt_seg_map'][30:50, 35:55] == 255] = 0
    for results in (
        scene(centers=()),
        scene(centers=((3, 3),)),  # too close to the border to be copied whole
        scene(centers=((40, 40), (40, 45))),  # two in one window
        ignored,  # all that is left is ignored
    ):
        after = paste(dict(results))
        np.testing.assert_array_equal(after['img'], results['img'])
        np.testing.assert_array_equal(after['gt_seg_map'], results['gt_seg_map'])
    bright = scene(noise=0)
    bright['img'][(ndimage.distance_transform_edt(bright['gt_seg_map'] == 0)) > 8] = 255
    np.testing.assert_array_equal(paste(dict(bright))['img'], bright['img'])


def dataset_of(root, scenes):
    for i, results in enumerate(scenes):
        for folder, array in (('images', results['img']), ('masks', results['gt_seg_map'] * 255)):
            (root / folder).mkdir(exist_ok=True)
            Image.fromarray(array).save(root / folder / f'{i}.png')
    return FolderDataset(data_root=root, pipeline=[LoadIRImage(), LoadTargetMask()])


def mixed(dataset, **options):
    """The dataset in MMSegmentation's wrapper, as configs have it."""
    with DefaultScope.overwrite_default_scope('mmseg'):
        wrapper = dict(
            type='MultiImageMixDataset',
            dataset=dict(type='ConcatDataset', datasets=[dataset]),
            pipeline=[dict(type='mmirstd.CopyPasteTargets', **options)],
        )
        return DATASETS.build(wrapper)


def test_targets_of_another_sample(tmp_path):
    dataset = dataset_of(tmp_path, [scene(seed=3), scene(centers=())])
    pasted = mixed(dataset, prob=1, max_num=1, other_prob=1)
    numbers = [(count(pasted[0]['gt_seg_map']), count(pasted[1]['gt_seg_map'])) for _ in range(20)]
    assert set(numbers) == {(1, 0), (1, 1), (2, 0), (2, 1)}  # the other sample is one of both
    assert {pasted[1]['gt_seg_map'].sum() for _ in range(10)} == {0, scene()['gt_seg_map'].sum()}
    assert 'mix_results' not in pasted[0]
    alone = mixed(dataset, prob=1, max_num=1, other_prob=0)
    assert {count(alone[0]['gt_seg_map']) for _ in range(5)} == {2}
    assert not alone[1]['gt_seg_map'].any()


@pytest.mark.parametrize(('prob', 'other_prob'), [(0.5, 0.5), (1, 0.3), (0.4, 1), (0.8, 0)])
def test_probabilities_of_own_and_other_targets(prob, other_prob):
    """Three outcomes: nothing, own targets, another sample's; an image is loaded for the third alone."""
    paste = CopyPasteTargets(prob=prob, other_prob=other_prob)
    paste._donor_windows = lambda mask: seen.append(mask) or []
    own, other = (scene(shape=(20, 20), centers=centers) for centers in ((), ((10, 10),)))
    seen, drawn = [], 0
    for _ in range(2000):
        indices = paste.get_indices(range(7))
        assert set(indices) <= set(range(7))
        drawn += len(indices)
        paste(own | {'mix_results': [other] * len(indices)})
    shares = np.mean([mask.any() for mask in seen]) * len(seen) / 2000, len(seen) / 2000
    assert drawn == sum(mask.any() for mask in seen)
    # Within four standard errors.
    assert shares == pytest.approx((prob * other_prob, prob), abs=4 * 0.5 / 2000**0.5)


def test_donor_may_be_larger_than_the_image(tmp_path):
    small = scene(shape=(8, 8), centers=()) | {'mix_results': [scene()]}
    assert not CopyPasteTargets(prob=1, other_prob=1)(small)['gt_seg_map'].any()


def test_missing_samples_and_probability():
    with pytest.raises(KeyError, match="other_prob > 0 needs results\\['mix_results'\\]"):
        CopyPasteTargets(prob=1, other_prob=1)(scene())
    with pytest.raises(KeyError, match='no gt_seg_map and no img; the dataset inside MultiImageMixDataset must load'):
        CopyPasteTargets(prob=1, other_prob=1)(scene() | {'mix_results': [{'inputs': 1}]})
    paste = CopyPasteTargets(prob=0.3, other_prob=0)
    changed = np.mean([paste(scene(shape=(40, 40), centers=((20, 20),)))['gt_seg_map'].sum() > 13 for _ in range(300)])
    assert 0.2 < changed < 0.4


def test_gray_image_without_channel_axis():
    results = scene(channels=1)
    results['img'] = results['img'][..., 0]
    after = CopyPasteTargets(prob=1, other_prob=0)(dict(results))
    assert after['img'].shape == (80, 90)
    assert count(after['gt_seg_map']) > 1
    assert (after['img'] != results['img']).any()


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({'prob': 1.5}, r'prob must lie in \[0, 1\], got 1.5'),
        ({'other_prob': -1}, r'other_prob must lie in \[0, 1\], got -1'),
        ({'max_num': 0}, 'max_num must be at least 1'),
        ({'halo': -1}, 'halo and min_scr not negative'),
        ({'gain': (0, 1)}, 'range of positive factors'),
        ({'gain': (2, 1)}, 'range of positive factors'),
    ],
)
def test_bad_arguments(options, message):
    with pytest.raises(ValueError, match=message):
        CopyPasteTargets(**options)


def test_registered_name_and_repr():
    with DefaultScope.overwrite_default_scope('mmseg'):
        paste = TRANSFORMS.build({'type': 'mmirstd.CopyPasteTargets', 'max_num': 2})
    assert repr(paste).startswith('CopyPasteTargets(prob=0.5, max_num=2, other_prob=0.5, halo=4,')
