"""The detectors of this package as a backbone: images in, maps of targets out."""

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from mmengine.model import BaseModule
from torch import Tensor

from mmirstd.models.classical.contrast import tllcm, wslcm
from mmirstd.models.classical.filters import max_median, top_hat
from mmirstd.models.classical.ipi import ipi
from mmirstd.models.classical.mslstipt import mslstipt
from mmirstd.models.classical.nram import nram
from mmirstd.models.classical.pstnn import pstnn
from mmirstd.models.classical.ript import ript
from mmirstd.registry import MODELS
from mmirstd.utils.text import did_you_mean

DETECTORS: dict[str, Callable[..., np.ndarray]] = {
    f.__name__: f for f in (top_hat, max_median, tllcm, wslcm, ipi, nram, ript, pstnn, mslstipt)
}
# Those that take the frames of a sequence (T, H, W): a batch is then one sequence.
SEQUENCE_DETECTORS = frozenset(['mslstipt'])


@MODELS.register_module()
class ClassicalDetector(BaseModule):
    """A detector without weights, in the place of a backbone. It runs on the CPU, in double precision.

    Args:
        method: Name of a function of :mod:`mmirstd.models.classical`.
        arguments: Of that function.

    Raises:
        ValueError: If there is no such function.
        TypeError: If it has no such argument.
    """

    def __init__(self, method: str, **arguments: Any) -> None:
        super().__init__()
        if method not in DETECTORS:
            raise ValueError(f'ClassicalDetector: method {method!r}: there are {", ".join(DETECTORS)}')
        known = list(inspect.signature(DETECTORS[method]).parameters)[1:]
        if unknown := [name for name in arguments if name not in known]:
            near = did_you_mean(unknown[0], known, 1)
            raise TypeError(f'ClassicalDetector: {method} has no {unknown[0]}; it has {", ".join(known)}{near}')
        self.method, self.arguments = method, arguments

    def forward(self, images: Tensor) -> tuple[Tensor]:
        """Map targets.

        Args:
            images: (B, 1, H, W), gray levels of 0 to 255. For a method of sequences, B frames of one sequence.

        Returns:
            One map (B, 1, H, W), float32.

        Raises:
            ValueError: If the images have several channels.
        """
        if images.shape[1] != 1:
            raise ValueError(
                f'ClassicalDetector: images have {images.shape[1]} channels; load them with LoadIRImage(channels=1)'
            )
        frames = images[:, 0].detach().cpu().double().numpy()
        detect = DETECTORS[self.method]
        if self.method in SEQUENCE_DETECTORS:
            maps = detect(frames, **self.arguments)
        else:
            maps = np.stack([detect(frame, **self.arguments) for frame in frames])
        return (torch.from_numpy(maps.astype(np.float32))[:, None].to(images.device),)

    def extra_repr(self) -> str:
        """Show the method and its arguments."""
        return ', '.join([self.method, *(f'{key}={value!r}' for key, value in self.arguments.items())])
