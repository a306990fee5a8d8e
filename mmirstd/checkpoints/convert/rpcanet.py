"""State-dict keys of RPCANet and L-RPCANet: the authors' and this project's."""

import re
from collections.abc import Mapping

from torch import Tensor

from mmirstd.checkpoints.convert.renaming import renamed, without_prefix
from mmirstd.checkpoints.state_dict import StateDict

_KEY = re.compile(r'decos\.(\d+)\.(lowrank|sparse|residual|merge)\.(.+)$')
_LAYER = re.compile(r'(?:convs|mapping)\.(\d+)\.(\w+)$')
_STEPS = ('epsilon', 'sigma')


def convert_rpcanet_state_dict(state_dict: Mapping[str, Tensor]) -> tuple[StateDict, list[str]]:
    """Convert keys of a published checkpoint to those of ``configs/baselines/rpcanet*`` and ``l-rpcanet*``.

    Returns:
        The converted state dict, and the keys that were left out: none.

    Raises:
        ValueError: for keys that have no place, naming them.
    """
    matches = {key: _KEY.match(without_prefix(key)) for key in state_dict}
    last_stage = max((int(match[1]) for match in matches.values() if match), default=-1)
    # Places in an estimator's sequence, to tell its last convolution from the others.
    layers = [(match[1], match[2], int(layer[1])) for match in matches.values() if match
              if (layer := _LAYER.match(match[3]))]  # fmt: skip
    ends = {(stage, part): max(i for s, p, i in layers if (s, p) == (stage, part)) for stage, part, _ in layers}

    def new_name(key: str) -> str | None:
        match = matches[key]
        if match is None:
            return None
        stage, part, rest = match.groups()
        merger = 'backbone.last_merger' if int(stage) == last_stage else f'backbone.mergers.{stage}'
        owner = merger if part in ('residual', 'merge') else f'backbone.stages.{stage}'
        if rest in _STEPS:
            return f'{owner}.step'
        owner += {'lowrank': '.background', 'sparse': '.target', 'residual': '.noise', 'merge': '.image'}[part]
        if rest.startswith('final_conv.'):
            return rest.replace('final_conv', f'{owner}.last')
        if rest.startswith('channel_attention.excitation.'):
            return rest.replace('channel_attention.excitation', f'{owner}.gate.mlp')
        layer = _LAYER.match(rest)
        if layer is None:
            return None
        index, normed = int(layer[1]), part in ('lowrank', 'merge')
        gated = f'decos.{stage}.{part}.final_conv.weight'
        has_final = any(without_prefix(k) == gated for k in state_dict)
        if index == ends[stage, part] and not (part == 'merge' and has_final):
            return f'{owner}.{"widen" if has_final else "last"}.{layer[2]}'
        if not normed:
            return f'{owner}.convs.{index // 2}.0.{layer[2]}'
        return f'{owner}.convs.{index // 3}.0.{("conv", "bn")[index % 3]}.{layer[2]}' if index % 3 < 2 else None

    return renamed(state_dict, new_name, 'RPCANet'), []
