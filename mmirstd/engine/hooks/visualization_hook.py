"""The hook that has predictions drawn while a model is validated and tested."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path

import numpy as np
import torch
from mmengine.dist import is_main_process
from mmengine.fileio import get
from mmengine.runner import Runner
from mmseg.engine.hooks import SegVisualizationHook
from mmseg.structures import SegDataSample
from PIL import Image

from mmirstd.registry import HOOKS


@HOOKS.register_module()
class IRSTDVisualizationHook(SegVisualizationHook):
    """Draws the same images at every validation, and every image of a test.

    The image comes from the batch where it has its native size there, otherwise from its file. A picture is named after
    its `img_id`; where a set has an id twice, the position in the set goes before it, so no picture replaces another.

    Args:
        draw: Whether to draw at all.
        interval: At validation, the first image of every so many batches is drawn, the first batch's included; its step
            is the training iteration.
        show: Show pictures in a window instead of storing them.
        wait_time: Seconds a window stays; 0 waits for a key.
        show_dir: Folder that pictures of a test are written to as ``ID.png``, by every process. None: the first process
            hands its own to the visualizer's backends.
        backend_args: mmengine's file backend.
    """

    def __init__(
        self,
        draw: bool = False,
        interval: int = 50,
        show: bool = False,
        wait_time: float = 0.0,
        show_dir: str | None = None,
        backend_args: dict | None = None,
    ) -> None:
        if interval < 1:
            raise ValueError(f'IRSTDVisualizationHook: interval must be at least 1, not {interval}')
        super().__init__(draw=draw, interval=interval, show=show, wait_time=wait_time, backend_args=backend_args)
        self.show_dir = show_dir
        self._names: dict[str, str] = {}

    def before_val_epoch(self, runner: Runner) -> None:
        """Name the pictures."""
        if self.draw:
            self._names = picture_names(runner.val_dataloader.dataset)

    def before_test_epoch(self, runner: Runner) -> None:
        """Name the pictures."""
        self._test_index = 0
        if self.draw:
            self._names = picture_names(runner.test_dataloader.dataset)

    def after_val_iter(
        self, runner: Runner, batch_idx: int, data_batch: Mapping, outputs: Sequence[SegDataSample]
    ) -> None:
        """Draw the first image of the batch, every `interval` batches."""
        if self.draw and batch_idx % self.interval == 0 and is_main_process():
            name = f'val_{self._names[outputs[0].img_path]}'
            self._draw(name, data_batch, outputs, 0, runner.iter)

    def after_test_iter(
        self, runner: Runner, batch_idx: int, data_batch: Mapping, outputs: Sequence[SegDataSample]
    ) -> None:
        """Draw all images of the batch."""
        if not self.draw or not (self.show_dir or is_main_process()):
            return
        for position, sample in enumerate(outputs):
            self._test_index += 1
            name = self._names[sample.img_path]
            if self.show_dir:
                self._draw(name, data_batch, outputs, position, 0, str(Path(self.show_dir, f'{name}.png')))
            else:
                self._draw(f'test_{name}', data_batch, outputs, position, self._test_index)

    def _draw(
        self,
        name: str,
        data_batch: Mapping,
        outputs: Sequence[SegDataSample],
        position: int,
        step: int,
        out_file: str | None = None,
    ) -> None:
        self._visualizer.add_datasample(
            name,
            self._image(data_batch['inputs'][position], outputs[position]),
            data_sample=outputs[position],
            show=self.show,
            wait_time=self.wait_time,
            out_file=out_file,
            step=step,
        )

    def _image(self, packed: object, sample: SegDataSample) -> np.ndarray:
        """Image (H, W, 1) or (H, W, 3), RGB, of native size."""
        # Test-time augmentation packs a list of versions.
        native = tuple(sample.ori_shape[:2])
        if isinstance(packed, torch.Tensor) and packed.shape[1:] == native and len(packed) in (1, 3):
            return packed.flip(0).permute(1, 2, 0).cpu().numpy()  # packed is BGR
        with Image.open(BytesIO(get(sample.img_path, backend_args=self.backend_args))) as image:
            simple = image.mode in ('L', 'RGB', 'F') or image.mode.startswith('I')
            return np.array(image if simple else image.convert('RGB'))


def picture_names(dataset: object) -> dict[str, str]:
    """A file name without suffix for each `img_path` of an mmengine dataset, no name twice."""
    infos = [dataset.get_data_info(i) for i in range(len(dataset))]
    ids = [re.sub(r'[^\w.-]+', '_', info.get('img_id') or Path(info['img_path']).stem) for info in infos]
    seen = Counter(ids)
    return {
        info['img_path']: name if seen[name] == 1 else f'{i:06d}_{name}'
        for i, (info, name) in enumerate(zip(infos, ids, strict=True))
    }
