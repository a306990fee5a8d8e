"""State-dict keys of RepViT checkpoints: the authors', timm's and ours.

The layouts (authors' code: THU-MIG/RepViT, ``model/repvit.py``; timm: ``timm/models/repvit.py``):

| part | authors | timm | ours |
|---|---|---|---|
| stem convolutions | ``features.0.{0,2}`` | ``stem.conv{1,2}`` | ``stem.{0,2}`` |
| block ``j`` of stage ``i`` | ``features.N``, N from 1 | ``stages.i.blocks.(j - (i > 0))`` | ``stages.i.j`` |
| last block of stage ``i`` | as the others | ``stages.(i + 1).downsample.pre_block`` | as the others |
| downsampling block | ``token_mixer.{0,2}``, ``channel_mixer`` | ``stages.i.downsample.{spatial_downsample,channel_downsample,ffn}`` | ``stages.i.0.{spatial,channel,channel_mixer}`` |
| convolution before a batch norm | ``c`` | ``c`` | ``conv`` |
| classifiers | ``classifier`` | ``head`` | none |
"""  # noqa: E501

import re
from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor

StateDict = dict[str, Tensor]

_CLASSIFIER = re.compile(r'(classifier|head)\.')

# Inside a block, authors' to ours. A block that downsamples has the depthwise convolution itself as token_mixer.0.
_AUTHORS_BLOCK = (
    (r'token_mixer\.0\.conv\.c\.', 'token_mixer.conv.conv.'),
    (r'token_mixer\.0\.conv\.bn\.', 'token_mixer.conv.bn.'),
    (r'token_mixer\.0\.conv1\.(?=weight|bias)', 'token_mixer.conv1.'),
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
    (r'token_mixer\.(?=conv\.bn\.|conv1\.(?:weight|bias)|bn\.)', 'token_mixer.'),
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


def unwrap_state_dict(checkpoint: Mapping[str, Any], prefix: str | None = None) -> StateDict:
    """The weights in what a file held: under ``state_dict`` (mmengine), ``model`` (RepViT's authors) or bare.

    With ``prefix``, only the keys below it, without it (``'backbone.'`` takes the backbone of a segmentor). Raises
    ``ValueError`` when there are no weights there.
    """
    for wrapper in ('state_dict', 'model'):
        if isinstance(checkpoint.get(wrapper), Mapping):
            checkpoint = checkpoint[wrapper]
            break
    if prefix:
        prefix = prefix.rstrip('.') + '.'
        checkpoint = {key.removeprefix(prefix): value for key, value in checkpoint.items() if key.startswith(prefix)}
    others = [key for key, value in checkpoint.items() if not isinstance(value, Tensor)]
    if others or not checkpoint:
        where = f' below the prefix {prefix!r}' if prefix else ''
        raise ValueError(f'not a state dict: {f"{others[:5]} are no tensors" if others else f"no weights{where}"}')
    return dict(checkpoint)


def convert_repvit_state_dict(state_dict: Mapping[str, Tensor]) -> tuple[StateDict, list[str]]:
    """Keys of a RepViT classifier or trunk, in whichever of the three layouts, to those of ``mmirstd.RepViT``.

    Returns the converted state dict and the dropped (classifier) keys. Raises ``ValueError`` for a layout that is not
    recognised and for keys that have no place, naming them.
    """
    state_dict = {key.removeprefix('module.'): value for key, value in state_dict.items()}
    trunk = {key: value for key, value in state_dict.items() if not _CLASSIFIER.match(key)}
    dropped = sorted(state_dict.keys() - trunk.keys())
    if any('conv1.c.weight' in key and 'token_mixer' in key for key in trunk):
        raise ValueError('this is a RepViT of the first version (M1, M2, M3), another architecture than M0.6 to M2.3')
    if 'stem.0.conv.weight' in trunk:
        return trunk, dropped
    if 'features.0.0.c.weight' in trunk:
        rename = _authors_renamer(trunk)
    elif 'stem.conv1.c.weight' in trunk:
        rename = _timm_renamer(trunk)
    else:
        raise ValueError(f'not a RepViT checkpoint known here; its first keys: {list(state_dict)[:5]}')

    names = {key: rename(key) for key in trunk}
    if unknown := [key for key, name in names.items() if name is None]:
        raise ValueError(f'keys that belong nowhere in a RepViT trunk: {unknown}')
    return {names[key]: value for key, value in trunk.items()}, dropped


def repvit_arch(state_dict: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    """``embed_dims`` and ``depths`` of a trunk with our keys."""
    places = {(int(m[1]), int(m[2])) for key in state_dict if (m := re.match(r'stages\.(\d+)\.(\d+)\.', key))}
    stages = sorted({stage for stage, _ in places})
    return {
        'embed_dims': tuple(state_dict[f'stages.{i}.0.channel_mixer.conv1.conv.weight'].shape[1] for i in stages),
        'depths': tuple(sum(stage == i for stage, _ in places) for i in stages),
    }


def _substitute(name: str, rules: tuple[tuple[str, str], ...]) -> str | None:
    for pattern, replacement in rules:
        new, hits = re.subn(rf'^{pattern}', replacement, name)
        if hits:
            return new
    return None


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

    def rename(key: str) -> str | None:
        if m := re.match(r'features\.0\.([02])\.(c|bn)\.(.+)', key):
            return f'stem.{m[1]}.{"conv" if m[2] == "c" else "bn"}.{m[3]}'
        m = re.match(r'features\.(\d+)\.(.+)', key)
        if m is None or int(m[1]) not in place:
            return None
        stage, j, down = place[int(m[1])]
        return _join(stage, j, _substitute(m[2], _AUTHORS_DOWN if down else _AUTHORS_KEEP))

    return rename


def _timm_renamer(trunk: StateDict) -> Callable[[str], str | None]:
    found = [re.match(r'stages\.(\d+)\.blocks\.(\d+)\.', key) for key in trunk]
    last = {}
    for m in filter(None, found):
        last[int(m[1])] = max(last.get(int(m[1]), 0), int(m[2]))

    def rename(key: str) -> str | None:
        if m := re.match(r'stem\.conv([12])\.(c|bn)\.(.+)', key):
            return f'stem.{0 if m[1] == "1" else 2}.{"conv" if m[2] == "c" else "bn"}.{m[3]}'
        if m := re.match(r'stages\.(\d+)\.blocks\.(\d+)\.(.+)', key):
            stage, j = int(m[1]), int(m[2])
            return _join(stage, j + (stage > 0), _substitute(m[3], _TIMM_KEEP))
        if m := re.match(r'stages\.(\d+)\.downsample\.pre_block\.(.+)', key):
            stage = int(m[1]) - 1
            if stage not in last:
                return None
            return _join(stage, last[stage] + 1 + (stage > 0), _substitute(m[2], _TIMM_KEEP))
        if m := re.match(r'stages\.(\d+)\.downsample\.(.+)', key):
            return _join(int(m[1]), 0, _substitute(m[2], _TIMM_DOWN))
        return None

    return rename


# The modules that IRSAM's authors added to SAM's mask decoder.
EDGE_BRANCH = ('edge_token', 'edge_mlp', 'compress_vit_feat', 'embedding_encoder', 'embedding_maskfeature')

_SAM_HEAD = re.compile(
    rf'mask_decoder\.(?:transformer|iou_token|mask_tokens|output_upscaling|{"|".join(EDGE_BRANCH)})\.'
    r'|prompt_encoder\.(?:pe_layer|no_mask_embed)\.'
)
# The encoder, what prompts need, what nothing here reads; pe_layer_2 is in IRSAM's files, and unused there.
_SAM_DROPPED = re.compile(
    r'image_encoder\.|prompt_encoder\.(?:point_embeddings|not_a_point_embed|mask_downscaling|pe_layer_2)\.'
    r'|mask_decoder\.(?:iou_prediction_head|output_hypernetworks_mlps)\.|pixel_(?:mean|std)$'
)


def convert_sam_decoder_state_dict(
    state_dict: Mapping[str, Tensor], mask_index: int = 0
) -> tuple[StateDict, list[str]]:
    """Keys of a whole SAM, MobileSAM or IRSAM to those of ``mmirstd.GranularityAwareHead``, whose own stay.

    ``mask_index`` is the mask token that the head reads. Returns the converted state dict and the dropped keys: the
    image encoder, the embeddings of prompts, the IoU head, the MLPs of the other mask tokens. Raises ``ValueError`` for
    keys that have no place, naming them.
    """
    state_dict = {key.removeprefix('module.'): value for key, value in state_dict.items()}
    if not any(key.startswith('mask_decoder.') for key in state_dict):
        return state_dict, []
    mlp = f'mask_decoder.output_hypernetworks_mlps.{mask_index}.'
    state, dropped, unknown = {}, [], []
    for key, value in state_dict.items():
        if key.startswith(mlp) or _SAM_HEAD.match(key):
            # The authors' 3x3 convolutions are transposed ones of stride 1: mirrored and with their axes swapped.
            if re.match(r'mask_decoder\.embedding_maskfeature\.[03]\.weight', key):
                value = value.transpose(0, 1).flip(2, 3)
            state[key.removeprefix('mask_decoder.').removeprefix('prompt_encoder.')] = value
        else:
            (dropped if _SAM_DROPPED.match(key) else unknown).append(key)
    if unknown:
        raise ValueError(f'keys that belong nowhere in a SAM with an edge branch: {unknown}')
    return state, dropped
