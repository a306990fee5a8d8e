"""Models by name, ready to predict, and the pipeline that loads images for them."""

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from mmcv.transforms import LoadAnnotations, LoadImageFromFile
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.model import revert_sync_batchnorm
from mmengine.registry import DefaultScope
from mmseg.registry import MODELS, TRANSFORMS
from torch import nn

from mmirstd.apis.configuration import (
    CfgOptions,
    check_checkpoint,
    has_weights,
    read_config,
    refuse_distiller,
    refuse_needless_checkpoint,
)
from mmirstd.apis.tta import use_tta
from mmirstd.checkpoints.fitting import load_strict
from mmirstd.checkpoints.loading import load_checkpoint, meta_of, use_strict_loader
from mmirstd.checkpoints.operating_point import CalibratedThreshold
from mmirstd.checkpoints.state_dict import CheckpointError, checkpoint_weights
from mmirstd.datasets.base import IRSTDDataset
from mmirstd.engine.config_checks import check_channels
from mmirstd.io.files import file_sha256
from mmirstd.models.layers.reparam import switch_to_deploy
from mmirstd.models.segmentors import check_tta_model
from mmirstd.utils.configs import DEFAULT_MODEL, list_configs, packaged_weights
from mmirstd.utils.data_root import iter_datasets
from mmirstd.utils.errors import ArgumentError


def list_models(pattern: str | None = None) -> list[str]:
    """List the names of the models that :func:`init_model` knows: those of the shipped configs, sorted.

    Args:
        pattern: A part of the name, or shell-style wildcards such as ``'simir_*_nudt'``; None lists all.

    >>> list_models('sgem_unet-s_nu*')
    ['sgem_unet-s_nuaa', 'sgem_unet-s_nudt']
    """
    return list_configs(pattern)


def init_model(
    config: str | Path | Config = DEFAULT_MODEL,
    checkpoint: str | Path | None = None,
    device: str | None = None,
    cfg_options: CfgOptions | None = None,
    *,
    tta: bool = False,
) -> nn.Module:
    """Build a model for prediction: weights loaded strictly, folded as it is deployed, in evaluation mode.

    Args:
        config: Name of a model (see :func:`list_models`), path of a config, or a config. The default finds targets in
            images of any camera.
        checkpoint: Path or address of the weights. By default those that come with the package for this name; where
            there are none, the weights are random, which is a warning. A classical detector has no weights.
        device: Such as ``'cpu'`` or ``'cuda:0'``; by default the GPU where there is one.
        cfg_options: Changes of the config: dotted keys and values, or ``'KEY=VALUE'`` texts.
        tta: Average the probabilities over the image and its two mirror images, or over what the config's
            ``tta_pipeline`` and ``tta_model`` say.

    Returns:
        The segmentor, which keeps its config as ``cfg`` and the classes as ``dataset_meta``, so that MMSegmentation's
        ``inference_model`` takes it, too; and as ``operating_point`` the threshold that was stored with its weights,
        or None.

    Raises:
        ConfigNotFoundError: If there is no such config.
        CheckpointError: If the checkpoint is missing, unsafe, or of another model than the config describes.
        OptionError: If a checkpoint is given for a model without weights.
        ArgumentError: If the device is not there.
    """
    checkpoint = checkpoint or own_weights(config)
    cfg = read_config(config, cfg_options)
    refuse_needless_checkpoint(cfg, checkpoint)
    refuse_distiller(cfg)
    if tta:
        use_tta(cfg)
    if checkpoint is not None:
        check_checkpoint(str(checkpoint))
    device = device or get_device()
    check_device(device)
    use_strict_loader()
    check_channels(cfg)
    with DefaultScope.overwrite_default_scope(cfg.get('default_scope', 'mmseg')):
        model = MODELS.build(cfg.model)
    check_tta_model(model)
    if str(device) == 'cpu':
        model = revert_sync_batchnorm(model)
    model.dataset_meta, model.operating_point = IRSTDDataset.METAINFO, None
    if checkpoint is None and has_weights(cfg):
        warnings.warn(
            f'{cfg.filename or "the model"}: no checkpoint is given, so the weights are random and the predictions '
            'mean nothing',
            stacklevel=2,
        )
    elif checkpoint is not None:
        content = load_checkpoint(checkpoint)
        load_strict(model, checkpoint_weights(content, str(checkpoint)), str(checkpoint))
        meta = meta_of(content)
        model.dataset_meta = meta.get('dataset_meta') or model.dataset_meta
        model.operating_point = CalibratedThreshold.of(meta, str(checkpoint))
    model.cfg = cfg
    if any('ChannelsLastHook' in str(hook.get('type')) for hook in cfg.get('custom_hooks') or ()):
        model.to(memory_format=torch.channels_last)  # as in a test
    model.to(device).eval()
    switch_to_deploy(model)
    return model


def own_weights(config: str | Path | Config) -> str | None:
    """Find the weights that come with the package for a config given by its name or path, and verify them.

    Returns:
        The path, or None if there are none: most configs are trained by their users.

    Raises:
        ConfigNotFoundError: If there is no such config.
        CheckpointError: If the file is not what its metafile says.
    """
    own = None if isinstance(config, Config) else packaged_weights(config)
    if own is None:
        return None
    if not own.path.is_file() or file_sha256(own.path) != own.sha256:
        raise CheckpointError(f'{own.path} is missing or not the file that its metafile names: install mmirstd again')
    return str(own.path)


def checkpoint_for(
    config: str | Path | Config, checkpoint: str | Path | None, option: str = 'a checkpoint'
) -> str | None:
    """Find the weights for a command: those that are given, or else those that come with the package.

    Args:
        config: Path or name of a config, or a config.
        checkpoint: Path or address, or None.
        option: How the command calls what is missing.

    Returns:
        Path or address; None for a model without weights, such as a classical detector.

    Raises:
        CheckpointError: If there is no such file, or none is given and none comes with the package.
        OptionError: If one is given for a model without weights.
    """
    cfg = read_config(config)
    refuse_needless_checkpoint(cfg, checkpoint)
    if checkpoint is None and (checkpoint := own_weights(config)) is None:
        if not has_weights(cfg):
            return None
        name = (config.filename or 'the model') if isinstance(config, Config) else config
        raise CheckpointError(f'no weights come with {name}: give {option}, the weights of a training')
    check_checkpoint(str(checkpoint))
    return str(checkpoint)


def own_threshold(model: nn.Module) -> float:
    """The threshold that a model predicts with: that stored with its weights, or else that of its head."""
    point = getattr(model, 'operating_point', None) or getattr(getattr(model, 'module', None), 'operating_point', None)
    return head_threshold(model) if point is None else point.threshold


def head_threshold(model: nn.Module) -> float:
    """The threshold of a model's head, by the config; 0.5 where it has none, as with two logits."""
    head = getattr(model, 'module', model).decode_head
    head = head[-1] if isinstance(head, nn.ModuleList) else head
    threshold = getattr(head, 'threshold', None)
    return 0.5 if threshold is None else threshold


def check_device(device: str | torch.device) -> None:
    """See that a device is there.

    Raises:
        ArgumentError: If PyTorch knows no such device, or finds none.
    """
    try:
        torch.empty(0, device=device)
    except (AssertionError, RuntimeError) as e:  # without CUDA support, torch asserts
        reason = str(e).split('\n', 1)[0]
        raise ArgumentError(f'device {str(device)!r}: PyTorch {torch.__version__} cannot use it: {reason}') from None


def image_pipeline(cfg: Config) -> list[dict[str, Any]]:
    """Return the test pipeline of a config for images alone: no annotations, and arrays as well as files.

    Raises:
        ValueError: If the config has no test pipeline, or none that begins with the loading of an image.
    """
    pipelines = [leaf['pipeline'] for _, leaf in iter_datasets(cfg, ('test', 'val')) if leaf.get('pipeline')]
    if not pipelines:
        raise ValueError(f'{cfg.filename or "the config"} has no test_dataloader with a pipeline')
    steps = pipelines[0]
    with DefaultScope.overwrite_default_scope(cfg.get('default_scope', 'mmseg')):
        if not steps or not issubclass(transform_class(steps[0]), LoadImageFromFile):
            first = steps[0].get('type') if steps else 'nothing'
            raise ValueError(
                f'{cfg.filename or "the config"}: the test pipeline must begin with LoadIRImage, not {first}'
            )
        return _without_annotations(steps)


def _without_annotations(steps: Sequence[Any]) -> list[Any]:
    kept = []
    for step in steps:
        if isinstance(step, (list, tuple)):  # alternatives of TestTimeAug
            if inner := _without_annotations(step):
                kept.append(inner)
            continue
        cls = transform_class(step)
        if issubclass(cls, LoadAnnotations):
            continue
        step = dict(step)
        if cls is LoadImageFromFile:
            step['type'] = 'mmseg.InferencerLoader'  # it takes arrays, too
        if 'transforms' in step:
            step['transforms'] = _without_annotations(step['transforms'])
        kept.append(step)
    return kept


def transform_class(step: Mapping[str, Any]) -> type:
    """The class of a step of a pipeline."""
    kind = step['type']
    if not isinstance(kind, str):
        return kind
    with TRANSFORMS.switch_scope_and_registry(step.get('_scope_')) as registry:
        found = registry.get(kind)
    if found is None:
        raise ValueError(f'{kind}: there is no such transform')
    return found
