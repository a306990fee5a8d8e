"""From image files to detections, with the share of reading, network and post-processing."""

import atexit
import shutil
import tempfile
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from mmirstd.apis.inferencer import IRSTDInferencer
from mmirstd.io.files import write_png
from mmirstd.synthesis.scenes import render_scene

STAGES = ('reading', 'network', 'post-processing')


class StageTimer:
    """One image from its file to its detections, by the steps of :class:`IRSTDInferencer`.

    Reading is what its ``preprocess`` does. Network is ``test_step``: preparation of the batch, the network, and its
    output brought to the size of the image. Post-processing is the rest of its ``forward``: checks, components and
    their statistics.

    Args:
        model: A segmentor with its config as ``cfg``.
        path: The file.
        step: Stands in for ``model.test_step``, such as one that casts to a lower precision.

    Attributes:
        seconds: Of each call and stage.
    """

    def __init__(self, model: nn.Module, path: Path, step: Callable | None = None) -> None:
        self.inferencer, self.path = IRSTDInferencer(model, show_progress=False), str(path)
        self.seconds: list[dict[str, float]] = []
        self._step, self._inside = step or model.test_step, 0.0
        # A GPU works on while Python is already at the next stage.
        self._on_gpu = any(p.is_cuda for p in model.parameters())
        model.test_step = self._timed_step

    def _timed_step(self, data: Any) -> Any:
        self._wait()
        start = time.perf_counter()
        output = self._step(data)
        self._wait()
        self._inside += time.perf_counter() - start
        return output

    def _wait(self) -> None:
        if self._on_gpu:
            torch.cuda.synchronize()

    def __call__(self) -> float:
        """Make one call; returns its seconds."""
        self._inside, start = 0.0, time.perf_counter()
        (batch,) = self.inferencer.preprocess([{'img_path': self.path, 'img_id': 'image'}])
        read = time.perf_counter()
        self.inferencer.forward(batch)
        end = time.perf_counter()
        self.seconds.append(dict(zip(STAGES, (read - start, self._inside, end - read - self._inside), strict=True)))
        return end - start

    def medians(self) -> dict[str, float]:
        """Median seconds of each stage over all calls."""
        return {stage: float(np.median([call[stage] for call in self.seconds])) for stage in STAGES}


@cache
def scene_file(height: int, width: int) -> Path:
    """Write a synthetic scene with targets as PNG, the same for all models; it goes away with the process."""
    folder = Path(tempfile.mkdtemp(prefix='mmirstd-benchmark-'))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    write_png(folder / 'scene.png', render_scene(0, (height, width))[0], flush=False)
    return folder / 'scene.png'
