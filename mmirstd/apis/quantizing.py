"""Exported models in 8 bits, by onnxruntime's static quantization, and what they lose."""

import itertools
import logging
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader

from mmirstd.apis.exported import INSTALL, ExportedModel
from mmirstd.apis.exported_graph import INPUT, ExportError
from mmirstd.apis.validation import data_name
from mmirstd.datasets.wrapped import leaves
from mmirstd.evaluation.functional.counts import Counts, count_image, sum_counts
from mmirstd.evaluation.functional.evaluated_image import EvaluatedImage
from mmirstd.evaluation.functional.metrics import compute_metrics
from mmirstd.evaluation.functional.protocols import get_protocol
from mmirstd.io.files import file_sha256, whole_file
from mmirstd.io.inputs import Image
from mmirstd.io.tables import text_rows
from mmirstd.ops.samples import to_array
from mmirstd.utils.progress import progress_bar
from mmirstd.utils.text import first_line

# Operations that take 8 bits. Softmax and sigmoid stay in float: they would have 256 values.
_QUANTIZED = ('Conv', 'ConvTranspose', 'MatMul', 'Gemm', 'Concat', 'Resize', 'MaxPool', 'Relu', 'Add', 'Mul')
_WEIGHTED = ('Conv', 'ConvTranspose', 'MatMul', 'Gemm')
# Images that the ranges of activations are taken from, at most.
MOST_IMAGES = 48
# What 8 bits may lose before float is the better choice.
ALLOWED_LOSS = 0.01


@dataclass(frozen=True)
class QuantizedReport:
    """What a model in 8 bits loses, beside the float one.

    Attributes:
        path: The file in 8 bits.
        images: Number of images that it was quantized with.
        rows: For ``float`` and ``int8`` the size of the file, the latency and, where there is a validation split, the
            metrics.
        data: The images that were measured on.
        left_out: Number of images that were given to quantize with, and are images of the validation split.
    """

    path: Path
    images: int
    rows: list[dict[str, Any]]
    data: str
    left_out: int = 0

    @property
    def loss(self) -> float | None:
        """IoU of the float file less that of 8 bits; None where no masks were there."""
        first, second = self.rows
        return first['IoU'] - second['IoU'] if 'IoU' in first else None

    def __str__(self) -> str:
        without = f' ({self.left_out} of the validation split left out)' if self.left_out else ''
        lines = [f'{self.path}: quantized with {self.images} images{without}; measured on {self.data}']
        lines.append(text_rows(self.rows))
        if self.loss is None:
            lines.append('give --data-root for IoU, Pd and Fa on the validation split')
        elif self.loss > ALLOWED_LOSS:
            lines.append(f'8 bits lose {self.loss:.4f} IoU, more than {ALLOWED_LOSS}: use the float file')
        return '\n'.join(lines)


def quantize_model(
    exported: ExportedModel,
    path: Path,
    out: Path,
    calibration: Sequence[tuple[str, Image]],
    validation: DataLoader | None,
    compared: Sequence[tuple[str, Image]],
) -> QuantizedReport:
    """Quantize an exported ONNX file, and measure both.

    Args:
        exported: The float file, opened.
        path: The float file.
        out: The file to write.
        calibration: Training images; :data:`MOST_IMAGES` of them are used, evenly spread.
        validation: Loader of the validation split; None measures latency alone.
        compared: Images for the latency if there is no validation split.
    """
    chosen = [image for _, image in spread(calibration)]
    with whole_file(out) as temporary:
        quantize_file(path, temporary, map(exported.read, chosen))
        forms = {'float': exported, 'int8': ExportedModel(temporary, torch.get_num_threads(), '.onnx')}
        found = measure_side_by_side(forms, _samples(exported, validation, compared))
        sizes = {'float': path.stat().st_size, 'int8': temporary.stat().st_size}
    slow = found['float']['latency, ms']
    rows = [
        {'form': form, 'MB': sizes[form] / 1e6} | values | {'latency / float': values['latency, ms'] / slow}
        for form, values in found.items()
    ]
    name = 'the images of the comparison' if validation is None else data_name(validation.dataset)
    return QuantizedReport(out, len(chosen), rows, name)


def spread(images: Sequence[tuple[str, Image]]) -> Sequence[tuple[str, Image]]:
    """Choose :data:`MOST_IMAGES` images at most, evenly spread."""
    return images[:: -(-len(images) // MOST_IMAGES)]


def images_apart(images: Sequence[tuple[str, Image]], dataset: Any) -> list[tuple[str, Image]]:
    """Leave out the images whose files have the content of an image of a dataset; arrays stay.

    Raises:
        ExportError: If no image is left.
    """
    held = {file_sha256(path) for path in image_paths(dataset)}
    left = [(name, image) for name, image in images if isinstance(image, np.ndarray) or file_sha256(image) not in held]
    if not left:
        raise ExportError(
            f'--calibrate-images: all {len(images)} images are of {data_name(dataset)}, which both files are measured '
            'on: give training images'
        )
    return left


def image_paths(dataset: Any) -> Iterator[str]:
    """Walk the files of the images of a dataset, and of those inside it."""
    infos = (part.get_data_info(i) for part in leaves(dataset) for i in range(len(part)))
    return (info['img_path'] for info in infos if info.get('img_path'))


def measure_side_by_side(
    forms: Mapping[str, ExportedModel], samples: Iterable[tuple[np.ndarray, np.ndarray | None]]
) -> dict[str, dict[str, float]]:
    """IoU, Pd and Fa by the protocol ``exact`` and the median latency of exported files, in turn on each image.

    Args:
        forms: The files by name.
        samples: Input (1, C, H, W) of the files and mask (H, W) in {0, 1, 255} of each image; without mask there are no
            metrics.
    """
    counts: dict[str, list[Counts]] = {form: [] for form in forms}
    seconds: dict[str, list[float]] = {form: [] for form in forms}
    for content, mask in progress_bar(samples, 'measuring'):
        for form, exported in forms.items():
            start = time.perf_counter()
            probability = exported(content)[0, 0]
            seconds[form].append(time.perf_counter() - start)
            if mask is not None:
                protocol = get_protocol('exact', threshold=exported.metadata['threshold'])
                counts[form].append(count_image(EvaluatedImage.from_labels(probability, mask, 255), protocol))
    found = {}
    for form in forms:
        metrics = compute_metrics(sum_counts(counts[form])) if counts[form] else {}
        found[form] = {name: metrics[name] for name in ('IoU', 'Pd', 'Fa') if metrics}
        found[form]['latency, ms'] = float(np.median(seconds[form])) * 1e3
    return found


def _samples(
    exported: ExportedModel, validation: DataLoader | None, compared: Sequence[tuple[str, Image]]
) -> Iterator[tuple[np.ndarray, np.ndarray | None]]:
    if validation is None:
        yield from ((exported.read(image), None) for _, image in compared)
        return
    for batch in validation:
        for packed, sample in zip(batch['inputs'], batch['data_samples'], strict=True):
            # as the pipeline loaded it: the model is tested on these levels
            yield exported.take(packed.permute(1, 2, 0).numpy()), to_array(sample.gt_sem_seg.data[0])


def size_nodes(nodes: Iterable[Any]) -> list[Any]:
    """Nodes of an ONNX graph, in its order, that compute with the sizes of images or with constants, not with pixels.

    In 8 bits, a position that is computed from the size of the image would be one of 256, and so would a length.
    """
    of_pixels, found = {INPUT}, []
    for node in nodes:
        if node.op_type not in ('Shape', 'Size') and not of_pixels.isdisjoint(node.input):
            of_pixels.update(node.output)
        else:
            found.append(node)
    return found


def quantize_file(path: str | Path, out: str | Path, batches: Iterable[np.ndarray]) -> None:
    """Quantize an ONNX file to 8 bits, all but what makes and follows the logits.

    Weights are quantized by output channel, activations by tensor, from the range that they take on ``batches``. From
    the last layer with weights on all stays in float, so that probabilities keep their resolution, and so does what
    depends on the size of the image alone.

    Args:
        path: The float file.
        out: The file to write.
        batches: Inputs (B, C, H, W) of the type that the file takes, such as training images.

    Raises:
        ExportError: If the file cannot be quantized, there is no batch, or a package is missing.
    """
    try:
        import onnx
        from onnxruntime import quantization
        from onnxruntime.quantization.shape_inference import quant_pre_process
    except ImportError as e:
        raise ExportError(f'quantizing needs {e.name}: {INSTALL}') from e
    batches = iter(batches)
    first = next(batches, None)
    if first is None:
        raise ExportError('there is no image to quantize with')

    class Reader(quantization.CalibrationDataReader):
        def __init__(self) -> None:
            self._left: Iterator[np.ndarray] = itertools.chain((first,), batches)

        def get_next(self) -> dict[str, np.ndarray] | None:
            batch = next(self._left, None)
            return None if batch is None else {INPUT: batch}

    level = logging.getLogger().level
    logging.getLogger().setLevel(logging.ERROR)
    try:
        with tempfile.TemporaryDirectory() as folder:
            prepared = str(Path(folder, 'prepared.onnx'))
            quant_pre_process(str(path), prepared, skip_symbolic_shape=True)
            nodes = onnx.load(prepared).graph.node
            weighted = [i for i, node in enumerate(nodes) if node.op_type in _WEIGHTED]
            if len(weighted) < 2:
                raise ExportError(f'{path} has {len(weighted)} layers with weights: there is nothing to quantize')
            quantization.quantize_static(
                prepared,
                str(out),
                Reader(),
                quant_format=quantization.QuantFormat.QDQ,
                op_types_to_quantize=list(_QUANTIZED),
                nodes_to_exclude=[node.name for node in (*nodes[weighted[-1] :], *size_nodes(nodes))],
                per_channel=True,
                activation_type=quantization.QuantType.QUInt8,
                weight_type=quantization.QuantType.QInt8,
            )
    except ExportError:
        raise
    except Exception as e:  # of onnx, onnxruntime and protobuf
        raise ExportError(f'{path}: onnxruntime cannot quantize it: {first_line(e)}') from e
    finally:
        logging.getLogger().setLevel(level)
