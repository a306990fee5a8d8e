"""Test-time augmentation of any config."""

from collections.abc import Sequence
from typing import Any

from mmengine.config import Config, ConfigDict

from mmirstd.apis.configuration import OptionError
from mmirstd.utils.data_root import iter_datasets

FLIPS = (
    {'type': 'RandomFlip', 'prob': 0.0},
    {'type': 'RandomFlip', 'prob': 1.0, 'direction': 'horizontal'},
    {'type': 'RandomFlip', 'prob': 1.0, 'direction': 'vertical'},
)


def use_tta(cfg: Config) -> None:
    """Have the test of a config average over versions of each image; changes ``cfg``.

    ``tta_model`` of the config is by default ``dict(type='mmirstd.IRSTDTTAModel')``, and ``tta_pipeline`` is
    :func:`flip_pipeline` of each test pipeline.

    Raises:
        OptionError: If there is no test pipeline.
    """
    leaves = [leaf for _, leaf in iter_datasets(cfg, ('test',)) if leaf.get('pipeline')]
    if not leaves:
        raise OptionError('--tta: the config has no test_dataloader with a pipeline')
    for leaf in leaves:
        leaf['pipeline'] = cfg.get('tta_pipeline') or flip_pipeline(leaf['pipeline'])
    wrapper = ConfigDict(cfg.get('tta_model') or {'type': 'mmirstd.IRSTDTTAModel'})
    wrapper['module'] = cfg.model
    cfg.model = wrapper


def flip_pipeline(pipeline: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Turn a test pipeline into one for the image as it is, mirrored left to right, and top to bottom.

    The image is flipped once it is loaded. What follows, the loading of the mask included, is done to each version.
    """
    load, *rest = (dict(step) for step in pipeline)
    for step in rest:
        if 'meta_keys' in step:  # without these two, predictions are not flipped back
            step['meta_keys'] = tuple(dict.fromkeys((*step['meta_keys'], 'flip', 'flip_direction')))
    return [load, {'type': 'TestTimeAug', 'transforms': [[dict(flip) for flip in FLIPS], *([step] for step in rest)]}]
