"""An exported file as a function: ONNX by onnxruntime, ``.pt2`` by PyTorch."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mmirstd.apis.exported_graph import INPUT, METADATA, ExportError
from mmirstd.datasets.transforms import LoadIRImage
from mmirstd.io.inputs import Image
from mmirstd.ops.detections import Detections, detect_targets
from mmirstd.utils.text import first_line

PT2_METADATA = f'{METADATA}.json'
INSTALL = "pip install 'mmirstd[export]'"


class ExportedModel:
    """What ``mmirstd export`` wrote, ready to run on the CPU.

    Args:
        path: A file ending in ``.onnx`` or ``.pt2``.
        threads: Of onnxruntime; by default its own choice. PyTorch's are set for all of it.
        suffix: What the name would end in, of a file that is called otherwise.

    Attributes:
        metadata: What stands in the file, see :func:`mmirstd.apis.exported_graph.describe_graph`.

    Raises:
        ExportError: If the file is none that ``mmirstd export`` wrote, or onnxruntime is not installed.
        FileNotFoundError: If there is no such file.
    """

    def __init__(self, path: str | Path, threads: int | None = None, suffix: str | None = None) -> None:
        path, suffix = Path(path), suffix or Path(path).suffix
        if not path.is_file():
            raise FileNotFoundError(f'there is no file {path}')
        if suffix not in ('.onnx', '.pt2'):
            raise ExportError(f'{path}: the name of an exported file ends in .onnx or .pt2')
        self._run, text = (_onnx if suffix == '.onnx' else _pt2)(path, threads)
        if not text:
            raise ExportError(f'{path} was not written by `mmirstd export`: it has no metadata {METADATA!r}')
        self.metadata: dict[str, Any] = json.loads(text)
        levels = {k: tuple(v) if isinstance(v, list) else v for k, v in self.metadata['levels'].items()}
        given = self.metadata['input']
        self.load = LoadIRImage(channels=given['channels'], dtype=given['dtype'], **levels)

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """Probabilities (B, 1, H, W) of images (B, C, H, W), of channels and type as ``metadata['input']`` says.

        Raises:
            ExportError: If the images are of another kind or size, or the file fails on them.
        """
        wanted = self.metadata['input']
        size, kind = tuple(wanted['size'] or images.shape[2:]), f'{wanted["dtype"]} (B, {wanted["channels"]}, H, W)'
        if images.ndim != 4 or (images.shape[1], images.dtype) != (wanted['channels'], np.dtype(wanted['dtype'])):
            raise ExportError(f'the exported file takes images {kind}, got {images.dtype} {images.shape}')
        if images.shape[2:] != size:
            given = ' x '.join(map(str, images.shape[2:]))
            raise ExportError(f'the exported file takes images of {size[0]} x {size[1]} alone, got {given}')
        try:
            return self._run(np.array(images, order='C'))  # PyTorch takes no negative stride, even of an axis of 1
        except Exception as e:  # onnxruntime's errors have no common class
            raise ExportError(f'the exported file fails on images {images.shape}: {first_line(e)}') from e

    def read(self, image: Image) -> np.ndarray:
        """An image, a file or an array as :class:`LoadIRImage` takes it, as input (1, C, H, W)."""
        return _to_input(self.load(str(image) if isinstance(image, Path) else image)['img'])

    def take(self, loaded: np.ndarray) -> np.ndarray:
        """An image that :class:`LoadIRImage` returned, (H, W, 1) or BGR (H, W, 3), as input (1, C, H, W).

        It is not loaded again: its levels are those of 0 to 255, which :meth:`read` would stretch if they are floating.
        """
        return _to_input(self.load.convert(loaded[..., 0] if loaded.shape[2] == 1 else loaded))

    def predict(self, image: Image, threshold: float | None = None, name: str = '') -> Detections:
        """Find the targets of an image; the threshold is that of the file unless another is given."""
        content = self.read(image)
        return detect_targets(
            self(content)[0, 0],
            content[0].transpose(1, 2, 0)[..., ::-1],
            threshold=self.metadata['threshold'] if threshold is None else threshold,
            connectivity=self.metadata['connectivity'],
            name=name,
        )


def require_onnxruntime() -> Any:
    """Import onnxruntime.

    Raises:
        ExportError: If it is not there; the message says how to get it.
    """
    try:
        import onnxruntime
    except ImportError as e:
        raise ExportError(f'running ONNX needs onnxruntime: {INSTALL}') from e
    return onnxruntime


def onnx_session(path: str | Path, threads: int | None = None) -> Any:
    """Open an ONNX file with onnxruntime on the CPU.

    Raises:
        ExportError: If onnxruntime is not there or cannot read the file.
    """
    onnxruntime = require_onnxruntime()
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # errors are raised, so not logged, too
    if threads:
        options.intra_op_num_threads = threads
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=['CPUExecutionProvider'])
    except Exception as e:  # onnxruntime's errors have no common class
        raise ExportError(f'{path}: onnxruntime cannot read it: {first_line(e)}') from e


def _to_input(img: np.ndarray) -> np.ndarray:
    return img[..., ::-1].transpose(2, 0, 1)[None]


def _onnx(path: Path, threads: int | None) -> tuple[Callable[[np.ndarray], np.ndarray], str | None]:
    session = onnx_session(path, threads)
    return lambda images: session.run(None, {INPUT: images})[0], session.get_modelmeta().custom_metadata_map.get(
        METADATA
    )


def _pt2(path: Path, threads: int | None) -> tuple[Callable[[np.ndarray], np.ndarray], str | None]:
    extra = {PT2_METADATA: ''}
    try:
        with open(path, 'rb') as file:
            module = torch.export.load(file, extra_files=extra).module()
    except Exception as e:  # of zip, JSON and torch
        raise ExportError(f'{path}: PyTorch cannot read it: {first_line(e)}') from e
    text = extra[PT2_METADATA]

    @torch.no_grad()
    def run(images: np.ndarray) -> np.ndarray:
        output: Tensor = module(torch.from_numpy(images))
        return output.numpy()

    return run, text.decode() if isinstance(text, bytes) else text
