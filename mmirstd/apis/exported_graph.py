"""A segmentor as a function of one tensor: raw pixels in, target probabilities out, with all that lies between."""

from collections.abc import Mapping
from typing import Any, Literal

import torch
from mmcv.transforms import LoadAnnotations, LoadImageFromFile
from mmengine.config import Config
from mmengine.registry import DefaultScope
from mmseg.datasets.transforms import PackSegInputs
from mmseg.models import EncoderDecoder
from torch import Tensor, nn

from mmirstd.apis.inference import image_pipeline, own_threshold, transform_class
from mmirstd.datasets.transforms import LoadIRImage
from mmirstd.models.data_preprocessor import IRSTDDataPreProcessor, index_to_crop
from mmirstd.registry import TRANSFORMS
from mmirstd.utils.errors import UserError
from mmirstd.version import __version__

InputType = Literal['uint8', 'float32']
INPUT, OUTPUT, METADATA = 'images', 'probability', 'mmirstd'
# Weights of ITU-R BT.601 for R, G, B in units of 2**-15, by which OpenCV makes bytes gray.
_GRAY = (9798, 19235, 3735)


class ExportError(UserError, RuntimeError):
    """A model that cannot be exported, or an exported one that differs from it."""


class ExportedGraph(nn.Module):
    """A segmentor from raw images (B, C, H, W) to probabilities (B, 1, H, W), float32.

    Images have one gray channel, or three in the order red, green, blue, with levels of 0 to 255. What a test does to
    them is done inside: channels, normalization, padding or resizing, and back.

    Args:
        model: From :func:`mmirstd.apis.init_model`, on the CPU.
        channels: 1 or 3, of the images.

    Raises:
        ExportError: If the model is no network that sees whole images, or its preprocessor is not that of this package.
    """

    def __init__(self, model: nn.Module, channels: Literal[1, 3] = 1) -> None:
        super().__init__()
        self.model, self.channels = model, channels
        preprocessor = getattr(model, 'data_preprocessor', None)
        if not isinstance(model, EncoderDecoder):
            raise ExportError(
                f'{type(model).__name__} is no EncoderDecoder of MMSegmentation: it has no graph to export'
            )
        if model.test_cfg.get('mode', 'whole') != 'whole':
            raise ExportError(
                "test_cfg.mode='slide': export the network with mode='whole', and cut tiles outside of it"
            )
        if not isinstance(preprocessor, IRSTDDataPreProcessor):
            raise ExportError(
                f'model.data_preprocessor is a {type(preprocessor).__name__}: an export needs IRSTDDataPreProcessor'
            )
        mean = getattr(preprocessor, 'mean', None)
        self.network_channels = 3 if mean is None else len(mean)
        if self.network_channels not in (1, 3):
            raise ExportError(f'the network takes {self.network_channels} channels: an export has images of 1 or 3')

    def forward(self, images: Tensor) -> Tensor:
        """Probabilities of raw images."""
        height, width = images.shape[2:]
        prepared, (inner_height, inner_width) = self.model.data_preprocessor.network_input(self._to_bgr(images))
        size = tuple(prepared.shape[2:])
        logits = self.model.encode_decode(prepared, [{'img_shape': size, 'pad_shape': size, 'ori_shape': size}]).float()
        logits = index_to_crop(logits, inner_height, inner_width)
        if self.model.data_preprocessor.inside_size is not None:
            align = self.model.align_corners
            logits = nn.functional.interpolate(logits, (height, width), mode='bilinear', align_corners=align)
        logits = logits if logits.shape[1] == 1 else logits[:, 1:] - logits[:, :1]
        return logits.sigmoid().clamp(0, 1)  # onnxruntime's sigmoid can be above 1 by rounding

    def _to_bgr(self, images: Tensor) -> Tensor:
        """Channels as :func:`mmirstd.datasets.transforms.loading.to_channels` makes them, float32."""
        if self.channels == self.network_channels == 3:
            return images[:, [2, 1, 0]].float()
        if self.channels == 1:
            return images.float().expand(-1, self.network_channels, -1, -1)
        red, green, blue = images.split(1, 1)
        if images.dtype == torch.uint8:
            weighted = sum(c.int() * w for c, w in zip((red, green, blue), _GRAY, strict=True))
            return ((weighted + 2**14) // 2**15).float()
        return green + 0.114 * (blue - green) + 0.299 * (red - green)


def describe_graph(
    model: nn.Module, channels: int, dtype: InputType, size: tuple[int, int] | None, threshold: float | None
) -> dict[str, Any]:
    """What a user of an exported file must know, in plain values; it goes into the file.

    Args:
        model: The model.
        channels: Of the images.
        dtype: Of the images.
        size: Height and width of the images; None if they are open.
        threshold: Above it a pixel is target; None: the model's own.

    Raises:
        ExportError: If the test pipeline changes images after they are loaded.
    """
    preprocessor, point = model.data_preprocessor, model.operating_point
    given = threshold is not None and (point is None or threshold != point.threshold)
    return {
        'version': __version__,
        'model': model.cfg.filename and str(model.cfg.filename).rpartition('/')[2].removesuffix('.py'),
        'classes': list(model.dataset_meta['classes']),
        'threshold': own_threshold(model) if threshold is None else threshold,
        'operating_point': None if point is None or given else point.as_meta(),
        'connectivity': 8,
        'input': {
            'name': INPUT,
            'layout': 'NCHW',
            'dtype': dtype,
            'channels': channels,
            'order': 'gray' if channels == 1 else 'RGB',
            'size': None if size is None else list(size),
        },
        'output': {'name': OUTPUT, 'layout': 'N1HW', 'dtype': 'float32'},
        'levels': loading_of(model.cfg),
        'inside': {
            'mean': _values(preprocessor, 'mean'),
            'std': _values(preprocessor, 'std'),
            'min_std': preprocessor.min_std,
            'padding_multiple': preprocessor.test_divisor,
            'padding_mode': preprocessor.test_pad_mode,
            'longer_side': preprocessor.inside_size,
        },
    }


def loading_of(cfg: Config) -> dict[str, Any]:
    """How files become levels of 0 to 255, by the test pipeline: the settings of ``LoadIRImage``.

    Raises:
        ExportError: If the pipeline has another step between loading and packing, which no graph holds.
    """
    steps = image_pipeline(cfg)
    with DefaultScope.overwrite_default_scope(cfg.get('default_scope', 'mmseg')):
        for step in steps:
            kind = None if not isinstance(step, Mapping) else transform_class(step)
            if kind is None or not issubclass(kind, (LoadImageFromFile, LoadAnnotations, PackSegInputs)):
                name = 'alternatives' if kind is None else kind.__name__
                raise ExportError(f'the test pipeline has {name}: an export takes images as they are loaded')
        loader = TRANSFORMS.build(steps[0])
    if not isinstance(loader, LoadIRImage):
        raise ExportError(f'the test pipeline begins with {type(loader).__name__}, not with LoadIRImage')
    names = ('normalize', 'percentiles', 'limits', 'normalize_8bit')
    return {name: getattr(loader, name) for name in names}


def _values(preprocessor: nn.Module, name: str) -> list[float] | None:
    value = getattr(preprocessor, name, None)
    return None if value is None else value.flatten().tolist()
