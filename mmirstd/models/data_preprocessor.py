"""Preparation of batches: images of any size are brought to what a network works at and its strides divide."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmseg.models import SegDataPreProcessor
from torch import Tensor

from mmirstd.registry import MODELS

PAD_MODES = ('replicate', 'reflect', 'constant')


@MODELS.register_module()
class IRSTDDataPreProcessor(SegDataPreProcessor):
    """MMSegmentation's preprocessor that pads test images at the bottom and on the right with what stands there.

    A network whose strides do not divide the image shifts its coarse maps against its fine ones, and where it sees
    padding of one value beside a bright scene, it sees an edge: on the odd sizes of NUAA-SIRST both make false alarms
    along two sides of the image. The padding is taken off the prediction again.

    Args:
        test_divisor: test images are padded to multiples of this, best the largest stride of the network.
        test_pad_mode: 'replicate', 'reflect' or 'constant' (zero after normalization).
        min_std: if given, each image is standardized by its own mean and standard deviation over pixels and channels,
            or by `min_std` gray levels where it has less, before `mean` and `std`, which then may be left out. A sample
            that is a part of an image holds the two of the whole as `standardization`.
        inside_size: what the network sees is resized (bilinear, averaged where it shrinks) so that the longer side has
            this many pixels, after `size` or `size_divisor` in training and before `test_divisor` otherwise. Labels
            stay as they are, and predictions are brought back to the size of the image.
        kwargs: of SegDataPreProcessor; its `test_cfg`, which does the same with one value, is refused.

    Raises:
        ValueError: for another mode, a divisor or `inside_size` below 1, a `min_std` that is not positive, `mean` and
            `std` of different lengths, an image of another number of channels, or too small to be reflected that far.
    """

    def __init__(
        self,
        test_divisor: int = 1,
        test_pad_mode: str = 'replicate',
        inside_size: int | None = None,
        min_std: float | None = None,
        **kwargs: object,
    ) -> None:
        if kwargs.get('test_cfg') is not None:
            raise ValueError('IRSTDDataPreProcessor: give test_divisor instead of test_cfg')
        if test_pad_mode not in PAD_MODES or test_divisor < 1:
            raise ValueError(f'IRSTDDataPreProcessor: {test_divisor=} and {test_pad_mode=}; modes are {PAD_MODES}')
        if inside_size is not None and inside_size < 1:
            raise ValueError(f'IRSTDDataPreProcessor: {inside_size=} must be at least 1')
        if min_std is not None and not min_std > 0:
            raise ValueError(f'IRSTDDataPreProcessor: {min_std=} must be positive')
        mean, std = kwargs.get('mean'), kwargs.get('std')
        if (mean is None) != (std is None) or (mean is not None and len(mean) != len(std)):
            raise ValueError(
                f'IRSTDDataPreProcessor: mean and std must have one value per channel, got {mean=} and {std=}'
            )
        # MMEngine's own takes one or three channels; two and four are those of WPMD(mode='append').
        other = mean is not None and len(mean) not in (1, 3)
        super().__init__(**kwargs | ({'mean': None, 'std': None} if other else {}))
        if other:
            self._enable_normalize = True
            self.register_buffer('mean', torch.tensor(mean, dtype=torch.float32)[:, None, None], persistent=False)
            self.register_buffer('std', torch.tensor(std, dtype=torch.float32)[:, None, None], persistent=False)
        self.test_divisor, self.test_pad_mode, self.inside_size = test_divisor, test_pad_mode, inside_size
        self.min_std = min_std

    def forward(self, data: dict, training: bool = False) -> dict:
        """Normalize, stack and resize; pad to a fixed size in training, to the divisor otherwise."""
        self._check_channels(data['inputs'])
        if self.min_std is not None:
            samples = data.get('data_samples') or [None] * len(data['inputs'])
            known = [None if sample is None else sample.get('standardization') for sample in samples]
            data = data | {'inputs': [self._standardize(*pair) for pair in zip(data['inputs'], known, strict=True)]}
        data = super().forward(data, training)
        if self._enable_normalize:  # after model.half(), the images are of that type, too
            data['inputs'] = data['inputs'].to(self.mean.dtype)
        if self.inside_size is not None:
            data['inputs'] = self._resize(data['inputs'])
        if training:
            # From a torch.Size, as mmseg leaves it here, a head takes the size to predict at, without the padding.
            for sample in data['data_samples'] or ():
                sample.set_metainfo({'img_shape': tuple(sample.img_shape)})
            return data
        height, width = data['inputs'].shape[2:]
        if self.inside_size is not None:
            for sample in data['data_samples'] or ():
                sample.set_metainfo({'img_shape': (height, width), 'pad_shape': (height, width)})
        bottom, right = -height % self.test_divisor, -width % self.test_divisor
        if not bottom and not right:
            return data
        if self.test_pad_mode == 'reflect' and (bottom >= height or right >= width):
            raise ValueError(f'an image of {width}x{height} cannot be reflected to a multiple of {self.test_divisor}')
        data['inputs'] = F.pad(data['inputs'], (0, right, 0, bottom), mode=self.test_pad_mode)
        for sample in data['data_samples'] or ():
            sample.set_metainfo({
                'img_padding_size': (0, right, 0, bottom),
                'pad_shape': (height + bottom, width + right),
            })  # fmt: skip
        return data

    def network_input(self, images: Tensor) -> tuple[Tensor, tuple[int, int]]:
        """Prepare test images of one size as :meth:`forward` does, by operations that an export can hold.

        Args:
            images: (B, C, H, W) float32, in BGR order.

        Returns:
            (B, C, H', W') as the network sees them, and their height and width without the padding.
        """
        if self.min_std is not None:
            images = self._standardize(images)
        if self._channel_conversion and images.shape[1] == 3:
            images = images[:, [2, 1, 0]]
        if self._enable_normalize:
            images = ((images - self.mean) / self.std).to(self.mean.dtype)
        if self.inside_size is not None:
            images = self._resize(images)
        return self._index_to_pad(images), tuple(images.shape[2:])

    def _index_to_pad(self, images: Tensor) -> Tensor:
        """Pad to the divisor by picking rows and columns: where sizes are open, no other way exports."""
        for axis in (2, 3):
            size = images.shape[axis]
            padded = (size + self.test_divisor - 1) // self.test_divisor * self.test_divisor
            place = torch.arange(padded, device=images.device)
            last = size - 1
            picked = last - (last - place).abs() if self.test_pad_mode == 'reflect' else place.clamp(max=last)
            images = images.index_select(axis, picked)
            if self.test_pad_mode == 'constant':
                inside = (place <= last).to(images.dtype)
                images = images * (inside[:, None] if axis == 2 else inside)
        return images

    def _standardize(self, image: Tensor, known: tuple[float, float] | None = None) -> Tensor:
        image = image.to(self.device, torch.float32)
        if known is not None:
            return (image - known[0]) / max(known[1], self.min_std)
        std, mean = torch.std_mean(image, dim=(-3, -2, -1), correction=0, keepdim=True)
        return (image - mean) / std.clamp(min=self.min_std)

    def _resize(self, images: Tensor) -> Tensor:
        factor = self.inside_size / max(images.shape[2:])
        size = [max(round(extent * factor), 1) for extent in images.shape[2:]]
        return F.interpolate(images, size, mode='bilinear', align_corners=False, antialias=factor < 1)

    def _check_channels(self, images: Sequence[Tensor]) -> None:
        if not self._enable_normalize:
            return
        values = len(self.mean)
        if wrong := {len(image) for image in images} - {values}:
            raise ValueError(
                f'images have {wrong.pop()} channel(s), but model.data_preprocessor.mean and .std {values} value(s): '
                "they must agree with each other and with the backbone's in_channels; images have the channels of the "
                "pipelines' LoadIRImage (channels=1 or 3)"
            )


def index_to_crop(images: Tensor, height: int, width: int) -> Tensor:
    """The upper left part of (B, C, H, W); a slice of open sizes would not export."""
    rows, columns = (torch.arange(size, device=images.device) for size in (height, width))
    return images.index_select(2, rows).index_select(3, columns)
