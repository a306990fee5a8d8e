"""The hook that has predictions drawn while a model is validated and tested."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mmengine import fileio
from mmengine.dist import barrier, is_main_process
from mmengine.runner import Runner
from mmseg.engine.hooks import SegVisualizationHook
from mmseg.structures import SegDataSample
from torch import Tensor

from mmirstd.datasets.transforms.loading import LoadIRImage
from mmirstd.datasets.wrapped import leaves
from mmirstd.io.files import refuse_overwriting
from mmirstd.io.names import flat_name, sample_files, sample_names
from mmirstd.registry import HOOKS


@HOOKS.register_module()
class IRSTDVisualizationHook(SegVisualizationHook):
    """Draws the same images at every validation, and every image of a test.

    The image comes from the batch where it has its native size there, of several versions that which is not flipped;
    otherwise the pipeline's own loader reads it again, or the dataset renders it again. Names are those of
    :func:`mmirstd.io.names.sample_names`, so no picture replaces another.

    Args:
        draw: Whether to draw at all.
        interval: At validation, the first image of every so many batches is drawn, the first batch's included; its step
            is the training iteration.
        show: Show pictures in a window instead of storing them.
        wait_time: Seconds a window stays; 0 waits for a key.
        show_dir: Folder that pictures of a test are written to as ``ID.png``, by every process. None: the first process
            hands its own to the visualizer's backends.
        backend_args: mmengine's file backend.
        overwrite: Whether files in `show_dir` may be replaced.

    Raises:
        FileExistsError: Before the first image of a test, if a picture is there already and may not be replaced; a file
            that the test reads never may.
    """

    def __init__(
        self,
        draw: bool = False,
        interval: int = 50,
        show: bool = False,
        wait_time: float = 0.0,
        show_dir: str | None = None,
        backend_args: dict | None = None,
        overwrite: bool = False,
    ) -> None:
        if interval < 1:
            raise ValueError(f'IRSTDVisualizationHook: interval must be at least 1, not {interval}')
        super().__init__(draw=draw, interval=interval, show=show, wait_time=wait_time, backend_args=backend_args)
        self.show_dir = show_dir
        self.overwrite = overwrite
        self._names: dict[str, str] = {}
        self._origins: dict[str, tuple[Any, int]] = {}
        self._load = LoadIRImage(backend_args=backend_args)

    def before_val_epoch(self, runner: Runner) -> None:
        """Name the pictures."""
        if self.draw:
            self._start(runner.val_dataloader.dataset)

    def before_test_epoch(self, runner: Runner) -> None:
        """Name the pictures."""
        self._test_index = 0
        if not self.draw:
            return
        dataset = runner.test_dataloader.dataset
        self._start(dataset)
        if self.show_dir:
            pictures = [self._picture(name) for name in self._names.values()]
            refuse_overwriting(pictures, self.overwrite, sample_files(dataset))
            barrier()  # no process draws before all have looked

    def _picture(self, name: str) -> str:
        return str(Path(self.show_dir, f'{name}.png'))

    def _start(self, dataset: Any) -> None:
        self._names = sample_names(dataset)
        pipelines = (getattr(leaf, 'pipeline', None) for leaf in leaves(dataset))
        transforms = (t for pipeline in pipelines for t in getattr(pipeline, 'transforms', ()))
        self._origins = {
            leaf.get_data_info(i)['img_path']: (leaf, i)
            for leaf in leaves(dataset)
            if hasattr(leaf, 'pipeline_input')
            for i in range(len(leaf))
        }
        self._load = next((t for t in transforms if isinstance(t, LoadIRImage)), self._load)

    def after_val_iter(
        self, runner: Runner, batch_idx: int, data_batch: Mapping, outputs: Sequence[SegDataSample]
    ) -> None:
        """Draw the first image of the batch, every `interval` batches."""
        if self.draw and batch_idx % self.interval == 0 and is_main_process():
            name = f'val_{flat_name(self._names[outputs[0].img_path])}'
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
                self._draw(name, data_batch, outputs, position, 0, self._picture(name))
            else:
                self._draw(f'test_{flat_name(name)}', data_batch, outputs, position, self._test_index)

    def _draw(
        self,
        name: str,
        data_batch: Mapping,
        outputs: Sequence[SegDataSample],
        position: int,
        step: int,
        out_file: str | None = None,
    ) -> None:
        sample = outputs[position]
        packed = _as_it_is(data_batch, position)
        self._visualizer.add_datasample(
            name,
            shown_image(packed, sample.ori_shape, self._source(sample.img_path), self._load),
            data_sample=sample,
            show=self.show,
            wait_time=self.wait_time,
            out_file=out_file,
            step=step,
        )

    def _source(self, path: str) -> str | np.ndarray:
        """The file of an image, or the image itself where it is rendered."""
        if path in self._origins and not fileio.isfile(path, backend_args=self._load.backend_args):
            dataset, index = self._origins[path]
            return dataset.pipeline_input(index).get('img', path)
        return path


def _as_it_is(data_batch: Mapping, position: int) -> Tensor | None:
    """An image of a batch; of several versions, as test-time augmentation makes them, that which is not flipped."""
    inputs = data_batch['inputs']
    if isinstance(inputs[0], Tensor):
        return inputs[position]
    versions = zip(inputs, data_batch['data_samples'], strict=True)  # each of the whole batch
    return next((images[position] for images, samples in versions if not samples[position].get('flip', True)), None)


def shown_image(
    packed: Tensor | None, native_size: Sequence[int], source: str | np.ndarray, load: LoadIRImage
) -> np.ndarray:
    """Return the image of a sample as it is drawn.

    Args:
        packed: What the pipeline made of it, (C, H, W) in BGR order; None where it made several versions.
        native_size: Height and width of the image.
        source: File of the image, or the image as an array.
        load: Reads the source where `packed` is not the image at its native size.

    Returns:
        (H, W, 1) or (H, W, 3), RGB, of native size.
    """
    if packed is not None and packed.shape[1:] == tuple(native_size[:2]) and len(packed) in (1, 3):
        return packed.flip(0).permute(1, 2, 0).cpu().numpy()
    return load(source)['img'][..., ::-1]
