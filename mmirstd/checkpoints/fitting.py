"""Whether weights fit the model that loads them, and what to say if they do not."""

from collections import OrderedDict
from collections.abc import Mapping
from itertools import chain
from typing import Any

import torch
from mmengine.model import BaseTTAModel, is_model_wrapper
from mmengine.optim import OptimWrapper, OptimWrapperDict
from mmengine.runner.checkpoint import load_state_dict
from torch import Tensor, nn
from torch.optim import Optimizer

from mmirstd.checkpoints.resumable import ResumeFields
from mmirstd.checkpoints.state_dict import CheckpointError, checkpoint_weights
from mmirstd.utils.text import abridge, first_line


def load_strict(model: nn.Module, state_dict: Mapping[str, Tensor], source: str) -> None:
    """Load weights that must fit the model exactly.

    Counters of BatchNorm may be missing: old checkpoints have none.

    Raises:
        CheckpointError: If keys are missing or unexpected, or shapes differ; says how many and the first of each.
    """
    while is_model_wrapper(model) or isinstance(model, BaseTTAModel):
        model = model.module
    own = model.state_dict()
    refuse_other_kinds(own, state_dict, source)
    details = ''
    try:
        result = model.load_state_dict(dict(state_dict), strict=False)
    except RuntimeError as e:  # torch raises for shapes even when not strict
        details = first_line(e)
        missing = [k for k in own if k not in state_dict]
        unexpected = [k for k in state_dict if k not in own]
    else:
        missing, unexpected = result.missing_keys, result.unexpected_keys
    missing = [k for k in missing if not k.endswith('num_batches_tracked')]
    shapes = other_shapes(own, state_dict)
    if not (missing or unexpected or details):
        return
    parts = [
        f'{len(keys)} {name} ({abridge(keys, 3)})'
        for keys, name in (
            (missing, 'missing keys'),
            (unexpected, 'unexpected keys'),
            (shapes, 'tensors of another shape'),
        )
        if keys
    ]
    raise CheckpointError(
        f'{source} is a checkpoint of another model than the config describes ({type(model).__name__}, {len(own)} '
        f'tensors): {"; ".join(parts) or details}'
    )


def check_average(checkpoint: Mapping[str, Any], model: nn.Module, source: str) -> None:
    """See that averaged weights (of ``EMAHook``, which would take what fits) belong to the checkpoint's own.

    Raises:
        CheckpointError: If keys or shapes differ, or shapes from those of the model; names the first of them.
    """
    weights = checkpoint_weights(checkpoint, source)
    average = ResumeFields(source).mapping(checkpoint['ema_state_dict'], 'ema_state_dict')
    if wrong := [k for k, v in average.items() if not isinstance(v, Tensor)]:
        ResumeFields(source).fail(f'ema_state_dict[{wrong[0]!r}]', average[wrong[0]], 'a tensor')
    average = {k.removeprefix('module.'): v for k, v in average.items() if k != 'steps'}
    wrong = [k for k in weights if k not in average] + [k for k in average if k not in weights]
    if wrong := wrong or other_shapes(weights, average):
        raise CheckpointError(
            f'{source}: its averaged weights (ema_state_dict) are not of the model that its weights are of: '
            f'{len(wrong)} differ ({abridge(wrong, 3)})'
        )
    if other_shapes(model.state_dict(), weights):
        load_strict(model, weights, source)  # says what differs


def check_optimizer(checkpoint: Mapping[str, Any], optim_wrapper: Any, source: str) -> None:
    """See that the optimizer's state belongs to the optimizer of the run that resumes.

    Raises:
        CheckpointError: If groups of parameters, shapes or kinds of settings differ, or a field is malformed.
    """
    if 'optimizer' not in checkpoint:
        return
    fields = ResumeFields(source)
    if isinstance(optim_wrapper, OptimWrapperDict):
        parts = fields.mapping(checkpoint['optimizer'], 'optimizer')
        if set(parts) != set(optim_wrapper.keys()):
            raise CheckpointError(
                f'cannot resume from {source}: it has the optimizers {abridge(sorted(parts), 4)}, the config '
                f'{abridge(sorted(optim_wrapper.keys()), 4)}'
            )
        for name, wrapper in optim_wrapper.items():
            check_optimizer({'optimizer': parts[name]}, wrapper, f'{source} ({name})')
        return
    if not isinstance(optim_wrapper, OptimWrapper) or not hasattr(optim_wrapper, 'optimizer'):
        return
    states, saved = fields.optimizer(checkpoint['optimizer'])
    # The wrapper's own list has one group more with paramwise_cfg, for the learning rate without multipliers.
    own = [[tuple(p.shape) for p in group['params']] for group in optim_wrapper.optimizer.param_groups]
    groups = [group['params'] for group in saved]
    if list(map(len, groups)) != list(map(len, own)):
        raise CheckpointError(
            f'cannot resume from {source}: its optimizer has {sum(map(len, groups))} parameters in {len(groups)} '
            f'groups, that of the config {sum(map(len, own))} in {len(own)}; was optim_wrapper.paramwise_cfg changed?'
        )
    fields.optimizer_settings(saved, optim_wrapper.optimizer.param_groups)
    _check_states(fields, states, dict(zip(chain(*groups), chain(*own), strict=True)), source)


def check_named_optimizer(
    checkpoint: Mapping[str, Any], optimizer: Optimizer, shapes: Mapping[str, tuple[int, ...]], source: str
) -> None:
    """As :func:`check_optimizer`, for the state that sharded processes put together, by names of parameters.

    Args:
        checkpoint: What the file holds.
        optimizer: Of the run, over shards.
        shapes: Of the parameters of the whole model, by name.
        source: The file, for messages.

    Raises:
        CheckpointError: If groups of parameters, shapes or kinds of settings differ, or a field is malformed.
    """
    fields = ResumeFields(source)
    states, saved = fields.optimizer(checkpoint['optimizer'], str)
    names, own = {name for group in saved for name in group['params']}, optimizer.param_groups
    if len(saved) != len(own) or names != set(shapes):
        differ = abridge(sorted(names ^ set(shapes)), 3) or 'groups'
        raise CheckpointError(
            f'cannot resume from {source}: its optimizer has {len(names)} parameters in {len(saved)} groups, that of '
            f'the config {len(shapes)} in {len(own)}; they differ in {differ}'
        )
    fields.optimizer_settings(saved, own)
    _check_states(fields, states, shapes, source)


def _check_states(fields: ResumeFields, states: Mapping, shapes: Mapping[Any, tuple[int, ...]], source: str) -> None:
    if others := [index for index in states if index not in shapes]:
        fields.fail(f'optimizer.state[{others[0]!r}]', states[others[0]], 'of a parameter that the optimizer has')
    for index, shape in shapes.items():
        for name, value in states.get(index, {}).items():
            fields.finite(value, f'optimizer.state[{index!r}].{name}')
            if name == 'step' and value < 0:
                fields.fail(f'optimizer.state[{index!r}].step', value, 'a number from 0')
            if isinstance(value, Tensor) and value.ndim and tuple(value.shape) != shape:
                raise CheckpointError(
                    f'cannot resume from {source}: {name} of parameter {index} in its optimizer is '
                    f'{tuple(value.shape)} instead of {shape}'
                )


def other_shapes(own: Mapping[str, Tensor], weights: Mapping[str, Tensor]) -> list[str]:
    """Describe the weights whose shapes differ from the model's own."""
    return [
        f'{k} {tuple(weights[k].shape)} instead of {tuple(v.shape)}'
        for k, v in own.items()
        if k in weights and weights[k].shape != v.shape
    ]


def refuse_other_kinds(own: Mapping[str, Tensor], weights: Mapping[str, Tensor], source: str) -> None:
    """See that no weight loses its value on the way into the model, as PyTorch converts any number into any other.

    Raises:
        CheckpointError: If a weight of the model has fractions and that of the checkpoint has none, or one is complex,
            sparse, or a shape without values; names the first of them.
    """
    wrong = [
        f'{k} {"without values" if v.is_meta else str(v.layout if v.layout != torch.strided else v.dtype)[6:]}'
        for k, v in weights.items()
        if k in own
        and (
            v.is_meta
            or v.layout != torch.strided
            or v.is_complex() != own[k].is_complex()
            or (own[k].is_floating_point() and not v.is_floating_point())
        )
    ]
    if wrong:
        raise CheckpointError(
            f'{source}: {len(wrong)} of its tensors are no such weights as the model has ({abridge(wrong, 3)})'
        )


def load_fitting(model: nn.Module, state_dict: Mapping[str, Tensor], source: str) -> None:
    """Load the weights whose keys and shapes fit, and log the others.

    Raises:
        CheckpointError: If none fits.
    """
    own = model.state_dict()
    refuse_other_kinds(own, state_dict, source)
    if not any(k in own and own[k].shape == v.shape for k, v in state_dict.items()):
        raise CheckpointError(f'{source}: none of its {len(state_dict)} tensors fits {type(model).__name__}')
    load_state_dict(model, OrderedDict(state_dict), strict=False, logger='current')
