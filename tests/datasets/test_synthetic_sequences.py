"""Synthetic sequences: frames of one scene that drifts, with targets that move, the same for ever."""

import numpy as np
import pytest

from mmirstd.datasets import SyntheticIRSTDDataset, SyntheticSequenceDataset
from mmirstd.synthesis.config import SceneConfig
from mmirstd.synthesis.sequences import SPEED, render_sequence


def dataset(**changes):
    return SyntheticSequenceDataset(**dict(length=12, size=(48, 56), serialize_data=False) | changes)


def test_frames_follow_each_other_and_stay_the_same():
    data = dataset()
    assert data.img_ids == [f'{s:06d}/{f:06d}' for s in (1, 2) for f in range(1, 7)]
    first = [data.pipeline_input(i) for i in range(12)]
    again = dataset(length=24)
    for i in (11, 0, 5, 6):  # in any order, of any length
        for key in ('img', 'gt_seg_map'):
            np.testing.assert_array_equal(again.pipeline_input(i)[key], first[i][key])
    first[0]['img'][:] = 0  # a pipeline may write into what it gets
    assert data.pipeline_input(0)['img'].any()
    different = dataset(part='test').pipeline_input(0)['img']
    assert (different != again.pipeline_input(0)['img']).mean() > 0.5


def test_frames_of_a_sequence_are_alike_and_others_are_not():
    images = [dataset().pipeline_input(i)['img'].astype(float) for i in range(12)]
    near = np.abs(images[1] - images[0]).mean()
    assert 0 < near < 0.5 * np.abs(images[6] - images[0]).mean()


def test_targets_move_no_faster_than_they_may_and_are_bright():
    scene = SceneConfig(target_counts=(0, 1), scr=(8, 9), target_contrast=(40, 200), level=(60, 90))
    moved = 0
    for seed in range(6):
        images, masks = render_sequence(np.random.default_rng(seed), 5, (64, 64), scene)
        assert masks.max() == 1
        centers = [np.argwhere(mask).mean(0) for mask in masks if mask.any()]
        steps = np.abs(np.diff(centers, axis=0))
        assert steps.max() < SPEED + 1  # masks are whole pixels, and may be cut at the border
        moved += steps.mean() > 0.3
        assert images[0][masks[0] > 0].mean() > images[0][masks[0] == 0].mean() + 20
    assert moved >= 4


def test_hashes_tell_sequences_from_scenes():
    scenes = SyntheticIRSTDDataset(12, (48, 56), serialize_data=False)
    sets = [dataset(), dataset(frames=4), scenes]
    assert len({s.split_hash() for s in sets}) == 3
    assert not set(sets[0].image_identities) & set(sets[1].image_identities)
    assert not set(sets[0].image_identities) & set(scenes.image_identities)


@pytest.mark.parametrize('changes', [dict(length=7), dict(frames=0), dict(size=(16, 40))])
def test_bad_arguments(changes):
    with pytest.raises(ValueError, match=r'multiple|at least'):
        dataset(**changes)


def test_a_sequence_has_a_frame():
    with pytest.raises(ValueError, match='at least one frame'):
        render_sequence(np.random.default_rng(0), 0)
