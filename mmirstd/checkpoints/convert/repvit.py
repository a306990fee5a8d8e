"""State-dict keys of RepViT checkpoints: the authors', timm's and ours.

The layouts (authors' code: THU-MIG/RepViT, ``model/repvit.py``; timm: ``timm/models/repvit.py``; EdgeSAM, which is a
RepViT of the first version below ``image_encoder.``, has the authors'):

| part | authors | timm | ours |
|---|---|---|---|
| stem convolutions | ``features.0.{0,2}`` | ``stem.conv{1,2}`` | ``stem.{0,2}`` |
| block ``j`` of stage ``i`` | ``features.N``, N from 1 | ``stages.i.blocks.(j - (i > 0))`` | ``stages.i.j`` |
| last block of stage ``i`` | as the others | ``stages.(i + 1).downsample.pre_block`` | as the others |
| downsampling block | ``token_mixer.{0,2}``, ``channel_mixer`` | ``stages.i.downsample.{spatial_downsample,channel_downsample,ffn}`` | ``stages.i.0.{spatial,channel,channel_mixer}`` |
| convolution before a batch norm | ``c`` | ``c`` | ``conv`` |
| classifiers | ``classifier`` | ``head`` | none |
| projections of SimIR's distilled backbone | ``proj1..4`` | none | none |
| EdgeSAM's neck | ``fuse_stage{2,3}``, ``neck`` | none | ``mmirstd.EdgeSAMNeck`` |
"""  # noqa: E501

import re
from collections.abc import Callable, Mapping

from torch import Tensor

from mmirstd.checkpoints.convert.renaming import rename, renamed, stage_depths
from mmirstd.checkpoints.convert.sam import image_encoder
from mmirstd.checkpoints.state_dict import StateDict

_DROPPED = re.compile(r'(classifier|head|proj[1-4]|fuse_stage[23]|neck)\.')

# Inside a block, authors' to ours. A block that downsamples has the depthwise convolution itself as token_mixer.0.
_AUTHORS_BLOCK = (
    (r'token_mixer\.0\.conv\.c\.', 'token_mixer.conv.conv.'),
    (r'token_mixer\.0\.conv\.bn\.', 'token_mixer.conv.bn.'),
    (r'token_mixer\.0\.conv1\.(?=weight|bias|bn\.)', 'token_mixer.conv1.'),
    (r'token_mixer\.0\.conv1\.c\.', 'token_mixer.conv1.conv.'),
    (r'token_mixer\.1\.(?=fc[12]\.)', 'se.'),
    (r'channel_mixer\.m\.0\.c\.', 'channel_mixer.conv1.conv.'),
    (r'channel_mixer\.m\.0\.bn\.', 'channel_mixer.conv1.bn.'),
    (r'channel_mixer\.m\.2\.c\.', 'channel_mixer.conv2.conv.'),
    (r'channel_mixer\.m\.2\.bn\.', 'channel_mixer.conv2.bn.'),
)
_AUTHORS_KEEP = ((r'token_mixer\.0\.bn\.', 'token_mixer.bn.'), *_AUTHORS_BLOCK)
_AUTHORS_DOWN = (
    (r'token_mixer\.0\.c\.', 'spatial.conv.'),
    (r'token_mixer\.0\.bn\.', 'spatial.bn.'),
    (r'token_mixer\.2\.c\.', 'channel.conv.'),
    (r'token_mixer\.2\.bn\.', 'channel.bn.'),
    *_AUTHORS_BLOCK,
)
_TIMM_KEEP = (
    (r'token_mixer\.conv\.c\.', 'token_mixer.conv.conv.'),
    (r'token_mixer\.(?=conv\.bn\.|conv1\.(?:weight|bias|bn\.)|bn\.)', 'token_mixer.'),
    (r'token_mixer\.conv1\.c\.', 'token_mixer.conv1.conv.'),
    (r'se\.(?=fc[12]\.)', 'se.'),
    (r'channel_mixer\.(conv[12])\.c\.', r'channel_mixer.\1.conv.'),
    (r'channel_mixer\.(?=conv[12]\.bn\.)', 'channel_mixer.'),
)
_TIMM_DOWN = (
    (r'(spatial|channel)_downsample\.c\.', r'\1.conv.'),
    (r'(spatial|channel)_downsample\.(?=bn\.)', r'\1.'),
    (r'ffn\.(conv[12])\.c\.', r'channel_mixer.\1.conv.'),
    (r'ffn\.(?=conv[12]\.bn\.)', 'channel_mixer.'),
)


def convert_repvit_state_dict(state_dict: Mapping[str, Tensor]) -> tuple[StateDict, list[str]]:
    """Convert keys of a RepViT classifier, trunk or EdgeSAM, in any of the layouts, to those of ``mmirstd.RepViT``.

    Returns:
        The converted weights, and the keys that were left out: those of classifiers, and EdgeSAM's other parts.

    Raises:
        ValueError: If the layout is not recognized, or keys have no place, naming them.
    """
    state_dict, dropped = image_encoder(state_dict)
    trunk = {key: value for key, value in state_dict.items() if not _DROPPED.match(key)}
    dropped += sorted(state_dict.keys() - trunk.keys())
    if 'stem.0.conv.weight' in trunk:
        return trunk, dropped
    if 'features.0.0.c.weight' in trunk:
        new_name = _authors_renamer(trunk)
    elif 'stem.conv1.c.weight' in trunk:
        new_name = _timm_renamer(trunk)
    else:
        raise ValueError(f'not a RepViT checkpoint known here; its first keys: {list(state_dict)[:5]}')

    return renamed(trunk, new_name, 'a RepViT trunk'), dropped


def repvit_arch(state_dict: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    """``embed_dims`` and ``depths`` of a trunk with our keys."""
    depths = stage_depths(state_dict)
    first = (state_dict[f'stages.{i}.0.channel_mixer.conv1.conv.weight'] for i in range(len(depths)))
    return {'embed_dims': tuple(weight.shape[1] for weight in first), 'depths': depths}


def has_branch_norm(state_dict: Mapping[str, Tensor]) -> bool:
    """Tell whether a trunk with our keys is of RepViT's first version (M1, M2, M3)."""
    return any('.token_mixer.conv1.conv.' in key for key in state_dict)


def _join(stage: int, block: int, name: str | None) -> str | None:
    return None if name is None else f'stages.{stage}.{block}.{name}'


def _authors_renamer(trunk: StateDict) -> Callable[[str], str | None]:
    blocks = sorted({int(m[1]) for key in trunk if (m := re.match(r'features\.(\d+)\.', key)) and m[1] != '0'})
    place = {}
    stage, j = 0, 0
    for n in blocks:
        down = f'features.{n}.token_mixer.2.c.weight' in trunk
        if down:
            stage, j = stage + 1, 0
        place[n] = stage, j, down
        j += 1

    def new_name(key: str) -> str | None:
        if m := re.match(r'features\.0\.([02])\.(c|bn)\.(.+)', key):
            return f'stem.{m[1]}.{"conv" if m[2] == "c" else "bn"}.{m[3]}'
        m = re.match(r'features\.(\d+)\.(.+)', key)
        if m is None or int(m[1]) not in place:
            return None
        stage, j, down = place[int(m[1])]
        return _join(stage, j, rename(m[2], _AUTHORS_DOWN if down else _AUTHORS_KEEP))

    return new_name


def _timm_renamer(trunk: StateDict) -> Callable[[str], str | None]:
    found = [re.match(r'stages\.(\d+)\.blocks\.(\d+)\.', key) for key in trunk]
    last = {}
    for m in filter(None, found):
        last[int(m[1])] = max(last.get(int(m[1]), 0), int(m[2]))

    def new_name(key: str) -> str | None:
        if m := re.match(r'stem\.conv([12])\.(c|bn)\.(.+)', key):
            return f'stem.{0 if m[1] == "1" else 2}.{"conv" if m[2] == "c" else "bn"}.{m[3]}'
        if m := re.match(r'stages\.(\d+)\.blocks\.(\d+)\.(.+)', key):
            stage, j = int(m[1]), int(m[2])
            return _join(stage, j + (stage > 0), rename(m[3], _TIMM_KEEP))
        if m := re.match(r'stages\.(\d+)\.downsample\.pre_block\.(.+)', key):
            stage = int(m[1]) - 1
            if stage not in last:
                return None
            return _join(stage, last[stage] + 1 + (stage > 0), rename(m[2], _TIMM_KEEP))
        if m := re.match(r'stages\.(\d+)\.downsample\.(.+)', key):
            return _join(int(m[1]), 0, rename(m[2], _TIMM_DOWN))
        return None

    return new_name
