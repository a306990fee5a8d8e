"""The frozen teacher of a distillation, and what its features depend on."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from copy import deepcopy
from functools import lru_cache
from os import path as osp
from typing import Any

import torch
from mmengine.config import Config, ConfigDict
from mmengine.registry import DefaultScope
from mmseg.structures import SegDataSample
from torch import Tensor, nn

from mmirstd.checkpoints.fitting import load_strict
from mmirstd.checkpoints.loading import load_checkpoint, meta_of
from mmirstd.checkpoints.state_dict import checkpoint_weights
from mmirstd.io.files import file_sha256
from mmirstd.registry import MODELS
from mmirstd.utils.configs import find_config
from mmirstd.utils.nested import without_keys

OUTPUTS = ('features', 'neck', 'logits')
_DTYPES = {'bfloat16': torch.bfloat16, 'float16': torch.float16, None: None}
_SEES_COLOR = (0.114, 0.587, 0.299)  # ITU-R BT.601, of blue, green and red


def channels_of(preprocessor: nn.Module, default: int) -> int:
    """Number of channels that a preprocessor normalizes; the default where it does not."""
    mean = getattr(preprocessor, 'mean', None)
    return default if mean is None else len(mean)


def prepare_views(images: Tensor, preprocessor: nn.Module) -> Tensor:
    """Prepare views for a network as its preprocessor prepares test images, and give them the channels it takes.

    Args:
        images: (B, C, H, W), levels 0 to 255, three channels in BGR order or a gray one.
        preprocessor: ``IRSTDDataPreProcessor`` or ``SegDataPreProcessor``.

    Returns:
        (B, C', H', W'), normalized.

    Raises:
        ValueError: If the views would be padded: maps of student and teacher would not cover the same ground.
    """
    channels = channels_of(preprocessor, images.shape[1])
    images = images.float()
    if channels == 3 and images.shape[1] == 1:
        images = images.expand(-1, 3, -1, -1)
    elif channels == 1 and images.shape[1] == 3:
        images = (images * images.new_tensor(_SEES_COLOR)[:, None, None]).sum(1, keepdim=True)
    samples = [SegDataSample(metainfo={'img_shape': tuple(images.shape[2:])}) for _ in images]
    data = preprocessor({'inputs': list(images), 'data_samples': samples}, training=False)
    inputs = data['inputs']
    if data['data_samples'][0].get('img_padding_size') is not None:
        height, width = images.shape[2:]
        raise ValueError(
            f'views of {width} x {height} would be padded to {inputs.shape[3]} x {inputs.shape[2]}: crop them, or '
            'choose inside_size, so that test_divisor divides them'
        )
    return inputs


def target_logits(model: nn.Module, features: tuple[Tensor, ...], size: tuple[int, int], shape: torch.Size) -> Tensor:
    """The target logit of a segmentor at each pixel of the views.

    Args:
        model: A segmentor of MMSegmentation.
        features: What its ``extract_feat`` gave.
        size: Height and width of the views.
        shape: Of the input that the features are of; logits at it are brought to `size`.

    Returns:
        (B, 1, *size), float32; of two classes the difference.
    """
    inside = tuple(shape[2:])
    metas = [dict.fromkeys(('img_shape', 'ori_shape', 'pad_shape'), inside)] * shape[0]
    logits = model.decode_head.predict(features, metas, model.test_cfg).float()
    if logits.shape[1] == 2:
        logits = logits[:, 1:] - logits[:, :1]
    if logits.shape[2:] != size:
        shrinks = logits.shape[2] > size[0]
        logits = nn.functional.interpolate(logits, size, mode='bilinear', align_corners=False, antialias=shrinks)
    return logits


@MODELS.register_module()
class FrozenTeacher(nn.Module):
    """A network that teaches: always in evaluation mode, without gradients, under autocast, in no checkpoint.

    Args:
        model: Config of a backbone or of a segmentor; or the path or name of a config file, whose model it is.
        checkpoint: Weights of the whole `model`, loaded strictly. None: as its ``init_cfg`` says. One of both must
            name a file.
        output: 'features', those of the backbone; 'neck', those behind the neck of a segmentor; or 'logits', the
            segmentor's target logits at the size of the views.
        indices: Which of the maps teach; None means all.
        data_preprocessor: How the teacher sees the views; by default that of the segmentor. Here stand its
            normalization and its size (``inside_size``).
        dtype: Of autocast: 'bfloat16', 'float16', or None for float32.

    Raises:
        ValueError: If an argument is out of its range, or no weights are named.
    """

    def __init__(
        self,
        model: Mapping[str, Any] | str,
        checkpoint: str | None = None,
        output: str = 'features',
        indices: tuple[int, ...] | None = None,
        data_preprocessor: Mapping[str, Any] | None = None,
        dtype: str | None = 'bfloat16',
    ) -> None:
        super().__init__()
        if output not in OUTPUTS or dtype not in _DTYPES:
            raise ValueError(f'FrozenTeacher: {output=} must be one of {OUTPUTS}, {dtype=} one of {tuple(_DTYPES)}')
        cfg = _resolved(model)
        is_segmentor = 'decode_head' in cfg
        if output != 'features' and not is_segmentor:
            raise ValueError(f'FrozenTeacher: {output=} needs a segmentor as model, not {cfg.get("type")}')
        preprocessor = data_preprocessor or cfg.get('data_preprocessor')
        if preprocessor is None:
            raise ValueError('FrozenTeacher: a backbone needs a data_preprocessor, which says how it sees the views')
        if not weight_files({'model': cfg, 'checkpoint': checkpoint}):
            raise ValueError(
                'FrozenTeacher: neither checkpoint nor an init_cfg of the model names weights: a network with random '
                'weights teaches nothing'
            )
        self.checkpoint, self.output, self.indices = checkpoint, output, indices
        # The student is initialized alike with and without a teacher before it.
        with DefaultScope.overwrite_default_scope('mmseg'), torch.random.fork_rng(devices=[]):
            self.preprocessor = MODELS.build(preprocessor)
            self.model = MODELS.build(ConfigDict(without_keys(cfg, ('init_cfg', 'pretrained'))) if checkpoint else cfg)
        self.is_segmentor, self.dtype = is_segmentor, _DTYPES[dtype]
        self.loaded = False
        self.requires_grad_(False)
        self.eval()

    def train(self, mode: bool = True) -> 'FrozenTeacher':
        """Stay in evaluation mode."""
        return super().train(False)

    def __deepcopy__(self, memo: dict) -> 'FrozenTeacher':
        """Copies of a distiller, as averaging makes them, share the teacher."""
        return self

    def init_weights(self) -> None:
        """Load the weights, once."""
        if self.loaded:
            return
        if self.checkpoint:
            load_strict(
                self.model, checkpoint_weights(load_checkpoint(self.checkpoint), self.checkpoint), self.checkpoint
            )
        else:
            with torch.random.fork_rng(devices=[]):
                self.model.init_weights()
        self.requires_grad_(False)
        self.loaded = True

    @torch.no_grad()
    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Teach.

        Args:
            images: Views, see :func:`prepare_views`.

        Returns:
            Maps (B, C_i, H_i, W_i), float32.
        """
        self.init_weights()
        if next(self.model.parameters()).device != images.device:
            self.to(images.device)
        inputs = prepare_views(images, self.preprocessor)
        with torch.autocast(images.device.type, self.dtype, enabled=self.dtype is not None):
            maps = self.run(inputs, tuple(images.shape[2:]))
        maps = tuple(m.float() for m in maps)
        if self.indices is None:
            return maps
        if not all(-len(maps) <= i < len(maps) for i in self.indices):
            raise ValueError(f'FrozenTeacher: indices={self.indices}, and there are {len(maps)} maps')
        return tuple(maps[i] for i in self.indices)

    def run(self, inputs: Tensor, size: tuple[int, int]) -> tuple[Tensor, ...]:
        """Run the network on prepared views, of `size` before."""
        if not self.is_segmentor:
            maps = self.model(inputs)
        elif self.output == 'features':
            maps = self.model.backbone(inputs)
        else:
            maps = self.model.extract_feat(inputs)
        if self.output == 'logits':
            return (target_logits(self.model, maps, size, inputs.shape),)
        return tuple(maps) if isinstance(maps, (tuple, list)) else (maps,)


def teacher_key(cfg: Mapping[str, Any]) -> str:
    """A hash of all that a teacher's features follow from: its config, and the content of the files of weights.

    Args:
        cfg: Config of a :class:`FrozenTeacher`.

    Raises:
        FileNotFoundError: If a file of weights is not there.
    """
    cfg = {'type': 'mmirstd.FrozenTeacher', **cfg, 'model': _resolved(cfg['model'])}
    files = [_file_hash(osp.realpath(name), osp.getmtime(name)) for name in weight_files(cfg)]
    text = json.dumps([without_keys(cfg, ('checkpoint', 'pretrained')), files], sort_keys=True, default=repr)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def teacher_sources(cfg: Mapping[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """The files of weights of a teacher's config, each with what it says of its training."""
    return [(name, dict(meta_of(load_checkpoint(name)))) for name in weight_files(cfg)]


def _resolved(model: Mapping[str, Any] | str) -> ConfigDict:
    if isinstance(model, str):
        model = Config.fromfile(find_config(model)).model
    return ConfigDict(deepcopy(dict(model)))


def weight_files(cfg: Mapping[str, Any]) -> list[str]:
    """The files of weights of a teacher's config: that of the whole model, if there is one, or those of its parts."""
    if cfg.get('checkpoint'):
        return [cfg['checkpoint']]
    return list(dict.fromkeys(_named(_resolved(cfg['model']))))


def _named(node: Any) -> Iterator[str]:
    if isinstance(node, Mapping):
        for key, value in node.items():
            if key in ('checkpoint', 'pretrained') and isinstance(value, str):
                yield value
            else:
                yield from _named(value)
    elif isinstance(node, (list, tuple)):
        for value in node:
            yield from _named(value)


@lru_cache(maxsize=16)
def _file_hash(path: str, modified: float) -> str:
    return file_sha256(path)
