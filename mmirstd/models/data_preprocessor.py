"""Preparation of batches: test images of any size are brought to what a network's strides divide."""

from collections.abc import Sequence

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
        test_pad_mode: 'replicate', 'reflect' or 'constant' (zero after normalisation).
        kwargs: of SegDataPreProcessor; its `test_cfg`, which does the same with one value, is refused.

    Raises:
        ValueError: for another mode, a divisor below 1, `mean` and `std` of different lengths, an image of another
            number of channels, or too small to be reflected that far.
    """

    def __init__(self, test_divisor: int = 1, test_pad_mode: str = 'replicate', **kwargs: object) -> None:
        if kwargs.get('test_cfg') is not None:
            raise ValueError('IRSTDDataPreProcessor: give test_divisor instead of test_cfg')
        if test_pad_mode not in PAD_MODES or test_divisor < 1:
            raise ValueError(f'IRSTDDataPreProcessor: {test_divisor=} and {test_pad_mode=}; modes are {PAD_MODES}')
        mean, std = kwargs.get('mean'), kwargs.get('std')
        if (mean is None) != (std is None) or (mean is not None and len(mean) != len(std)):
            raise ValueError(
                f'IRSTDDataPreProcessor: mean and std must have one value per channel, got {mean=} and {std=}'
            )
        super().__init__(**kwargs)
        self.test_divisor, self.test_pad_mode = test_divisor, test_pad_mode

    def forward(self, data: dict, training: bool = False) -> dict:
        """Normalise and stack; pad to a fixed size in training, to the divisor otherwise."""
        self._check_channels(data['inputs'])
        data = super().forward(data, training)
        if training:
            return data
        height, width = data['inputs'].shape[2:]
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
