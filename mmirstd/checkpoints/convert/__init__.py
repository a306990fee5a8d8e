"""Conversion of published checkpoints to this project's keys, one file a source."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mmirstd.checkpoints.convert.abcnet import convert_abcnet_state_dict
from mmirstd.checkpoints.convert.acm import convert_acm_state_dict
from mmirstd.checkpoints.convert.adgfnet import convert_adgfnet_state_dict
from mmirstd.checkpoints.convert.edge_sam import convert_edge_sam_state_dict
from mmirstd.checkpoints.convert.efficient_sam import convert_efficient_sam_state_dict
from mmirstd.checkpoints.convert.egpnet import convert_egpnet_state_dict
from mmirstd.checkpoints.convert.iaanet import convert_iaanet_state_dict
from mmirstd.checkpoints.convert.isnet import convert_isnet_state_dict
from mmirstd.checkpoints.convert.mdvsfa import convert_mdvsfa_state_dict
from mmirstd.checkpoints.convert.rdian import convert_rdian_state_dict
from mmirstd.checkpoints.convert.repisd import convert_repisd_state_dict
from mmirstd.checkpoints.convert.repvit import convert_repvit_state_dict, has_branch_norm, repvit_arch
from mmirstd.checkpoints.convert.residual_unet import convert_dnanet_state_dict, convert_mshnet_state_dict
from mmirstd.checkpoints.convert.rpcanet import convert_rpcanet_state_dict
from mmirstd.checkpoints.convert.sam import convert_sam_vit_state_dict, convert_tiny_vit_state_dict
from mmirstd.checkpoints.convert.sctransnet import convert_sctransnet_state_dict
from mmirstd.checkpoints.convert.simir import convert_simir
from mmirstd.checkpoints.convert.swin import convert_swin_state_dict, swin_arch
from mmirstd.checkpoints.convert.uiunet import convert_uiunet_state_dict
from mmirstd.checkpoints.loading import load_checkpoint
from mmirstd.checkpoints.state_dict import CheckpointError, StateDict, unwrap_state_dict
from mmirstd.io.files import refuse_overwriting, whole_file
from mmirstd.utils.errors import ArgumentError


@dataclass
class ConvertedWeights:
    """A state dict with this project's keys.

    Attributes:
        model: Class that the weights are of.
        state_dict: The weights.
        left_out: Keys of other parts, such as classifiers.
        arguments: Arguments of ``model`` that give this architecture, where they are not its defaults.
    """

    model: str
    state_dict: StateDict
    left_out: list[str]
    arguments: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        arguments = ', '.join(f'{key}={value}' for key, value in self.arguments.items())
        name = f'{self.model}({arguments})' if arguments else self.model
        return f'{name}, {len(self.state_dict)} tensors; left out {len(self.left_out)}'


def _repvit(weights: StateDict) -> ConvertedWeights:
    state, left_out = convert_repvit_state_dict(weights)
    first_version = {'branch_norm': True} if has_branch_norm(state) else {}
    return ConvertedWeights('RepViT', state, left_out, {'arch': repvit_arch(state)} | first_version)


def _swin(weights: StateDict) -> ConvertedWeights:
    state, left_out = convert_swin_state_dict(weights)
    return ConvertedWeights('SwinTransformer', state, left_out, swin_arch(state))


def _sam(weights: StateDict) -> ConvertedWeights:
    errors = []
    for name, convert in (('SAMViT', convert_sam_vit_state_dict), ('TinyViT', convert_tiny_vit_state_dict)):
        try:
            state, left_out = convert(weights)
        except ValueError as error:
            errors.append(str(error))
            continue
        plain = name == 'SAMViT' and not any('.rel_pos_' in key for key in state)
        return ConvertedWeights(name, state, left_out, {'rel_pos': False} if plain else {})
    raise ValueError(f'fits neither: {"; ".join(errors)}')


def _segmentor(convert: Callable[[StateDict], tuple[StateDict, list[str]]]) -> Callable[[StateDict], ConvertedWeights]:
    """A conversion of a whole network, which its config describes."""
    return lambda weights: ConvertedWeights('EncoderDecoder', *convert(weights))


def _simir(weights: StateDict) -> ConvertedWeights:
    return ConvertedWeights(*convert_simir(weights))


# Source -> conversion. cli/convert.py says in words what each takes.
SOURCES: dict[str, Callable[[StateDict], ConvertedWeights]] = {
    'abcnet': _segmentor(convert_abcnet_state_dict),
    'acm': _segmentor(convert_acm_state_dict),
    'adgfnet': _segmentor(convert_adgfnet_state_dict),
    'dnanet': _segmentor(convert_dnanet_state_dict),
    'edge-sam': _segmentor(convert_edge_sam_state_dict),
    'efficient-sam': _segmentor(convert_efficient_sam_state_dict),
    'egpnet': _segmentor(convert_egpnet_state_dict),
    'iaanet': _segmentor(convert_iaanet_state_dict),
    'isnet': _segmentor(convert_isnet_state_dict),
    'mdvsfa': _segmentor(convert_mdvsfa_state_dict),
    'mshnet': _segmentor(convert_mshnet_state_dict),
    'rdian': _segmentor(convert_rdian_state_dict),
    'repisd': _segmentor(convert_repisd_state_dict),
    'repvit': _repvit,
    'rpcanet': _segmentor(convert_rpcanet_state_dict),
    'sam': _sam,
    'sctransnet': _segmentor(convert_sctransnet_state_dict),
    'simir': _simir,
    'swin': _swin,
    'uiunet': _segmentor(convert_uiunet_state_dict),
}


def convert_weights(source: str, checkpoint: Mapping[str, Tensor], prefix: str | None = None) -> ConvertedWeights:
    """Convert what a checkpoint file held.

    Args:
        source: One of :data:`SOURCES`.
        checkpoint: The content of the file: weights under ``state_dict`` or ``model``, or bare.
        prefix: Take only the keys below this, e.g. ``'backbone.'``.

    Raises:
        ArgumentError: If there is no such source.
        ValueError: If the weights are of another model, or a key has no place.
    """
    if source not in SOURCES:
        raise ArgumentError(f'{source}: no checkpoints of this kind are known; there are {", ".join(SOURCES)}')
    return SOURCES[source](unwrap_state_dict(checkpoint, prefix))


def convert_checkpoint(
    source: str, checkpoint: str | Path, out: str | Path, *, prefix: str | None = None, overwrite: bool = False
) -> ConvertedWeights:
    """Convert a checkpoint file, for ``init_cfg=dict(type='Pretrained', checkpoint=OUT)`` or ``load_from``.

    Args:
        source: One of :data:`SOURCES`.
        checkpoint: Path or address of the published file.
        out: ``.pth`` file to write: weights under ``state_dict``, class and arguments in ``meta``.
        prefix: Take only the keys below this, e.g. ``'backbone.'``.
        overwrite: Replace the file if it exists.

    Raises:
        ArgumentError: If there is no such source.
        CheckpointError: If the file cannot be read, or its weights are of another model.
        FileExistsError: If ``out`` exists.
    """
    refuse_overwriting(out, overwrite, [checkpoint])
    try:
        converted = convert_weights(source, load_checkpoint(checkpoint), prefix)
    except ArgumentError:
        raise
    except ValueError as error:
        raise CheckpointError(f'{checkpoint}: {error}') from None
    meta = {'model': converted.model, 'arguments': converted.arguments}
    with whole_file(out) as temporary:
        torch.save({'state_dict': converted.state_dict, 'meta': meta}, temporary)
    return converted
