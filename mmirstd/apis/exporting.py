"""Export of a model to ONNX or ``torch.export``, compared with PyTorch before the file is there."""

import itertools
import json
import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
from mmengine.config import Config

from mmirstd.apis.configuration import CfgOptions, OptionError, refuse_without_weights, run_config
from mmirstd.apis.export_parity import (
    ImageParity,
    compare,
    named_images,
    parity_images,
    parity_table,
    refuse_other_sizes,
)
from mmirstd.apis.exported import INSTALL, PT2_METADATA, ExportedModel, require_onnxruntime
from mmirstd.apis.exported_graph import INPUT, METADATA, OUTPUT, ExportedGraph, ExportError, InputType, describe_graph
from mmirstd.apis.inference import checkpoint_for, init_model
from mmirstd.apis.quantizing import QuantizedReport, image_paths, images_apart, quantize_model, spread
from mmirstd.apis.validation import validation_loader
from mmirstd.io.files import refuse_overwriting, whole_file
from mmirstd.io.inputs import Image
from mmirstd.models.layers.no_graph import NoGraphError
from mmirstd.utils.configs import DEFAULT_MODEL
from mmirstd.utils.errors import ArgumentError
from mmirstd.utils.text import first_line, format_threshold

FORMATS = ('.onnx', '.pt2')
# An open size begins above the padding multiple, or else here: below, some networks have maps of one pixel.
MIN_SIZE = 64
_FIXED = 'with a fixed size it may succeed: --static HxW'


@dataclass(frozen=True)
class ExportReport:
    """What was exported.

    Attributes:
        path: The file.
        metadata: What stands in it.
        parity: The comparison with PyTorch, image by image.
        quantized: The file in 8 bits, if it was asked for.
    """

    path: Path
    metadata: dict[str, Any]
    parity: list[ImageParity]
    quantized: QuantizedReport | None = None

    def __str__(self) -> str:
        given = self.metadata['input']
        size = (
            ' x '.join(map(str, given['size'])) if given['size'] else f'from {given["min_size"]} x {given["min_size"]}'
        )
        worst = max(parity.difference for parity in self.parity)
        return '\n'.join(
            [
                f'{self.path}: {self.path.stat().st_size / 1e6:.1f} MB; images '
                f'({1 if given["size"] else "B"}, {given["channels"]}, H, W) '
                f'{given["dtype"]}, {given["order"]}, {size}; threshold {format_threshold(self.metadata["threshold"])}',
                parity_table(self.parity),
                f'equal to PyTorch within {worst:.2g} of probability',
                *([str(self.quantized)] if self.quantized else []),
            ]
        )


def export(
    config: str | Path | Config = DEFAULT_MODEL,
    checkpoint: str | Path | None = None,
    *,
    out: str | Path,
    static: Sequence[int] | None = None,
    channels: Literal[1, 3] = 1,
    dtype: InputType = 'uint8',
    threshold: float | None = None,
    images: Image | Sequence[Image] | None = None,
    tolerance: float = 1e-3,
    int8: bool = False,
    calibrate_images: Image | Sequence[Image] | None = None,
    data_root: str | Path | None = None,
    cfg_options: CfgOptions | None = None,
    overwrite: bool = False,
) -> ExportReport:
    """Export a model, folded as it is deployed, from raw pixels to probabilities.

    Args:
        config: Path or name of a config, or a config.
        checkpoint: Path or address of the weights; by default those that come with the package.
        out: The file; ``.onnx``, or ``.pt2`` for ``torch.export``.
        static: Height and width of all images, one at a time; by default batch and size are open.
        channels: Of the images: 1, gray, or 3, in the order red, green, blue.
        dtype: Of the images, whose levels are 0 to 255: ``'uint8'`` or ``'float32'``.
        threshold: Goes into the file; by default the operating point of the weights, or else the head's threshold.
        images: What the file is compared on, see :func:`mmirstd.io.inputs.list_images`; by default synthetic scenes.
        tolerance: Probabilities may differ from those of PyTorch by so much.
        int8: Also write ``NAME.int8.onnx``, quantized to 8 bits, and measure both.
        calibrate_images: Training images that the ranges of 8 bits are taken from.
        data_root: Folder of the config's dataset, for IoU, Pd and Fa of both on its validation split.
        cfg_options: Changes of the config: dotted keys and values, or ``'KEY=VALUE'`` texts.
        overwrite: Replace ``out`` if it exists.

    Returns:
        The file, its metadata and the comparison.

    Raises:
        ArgumentError: If an option is out of its range.
        CheckpointError: If the checkpoint is missing or does not fit.
        ExportError: If the model cannot be exported, or a package is missing.
        FileExistsError: If ``out`` exists.
        ParityError: If the file predicts something else than the model, which is not kept then, or an image is not of
            the size ``static``.
    """
    out = Path(out)
    size = _check_options(out, static, channels, dtype, threshold, tolerance)
    if out.suffix == '.onnx':
        require_onnx()
    if int8 != (calibrate_images is not None) or (int8 and out.suffix != '.onnx') or (data_root and not int8):
        raise ArgumentError('--int8 is for .onnx and needs --calibrate-images; --data-root is for --int8')
    quantized = out.with_name(f'{out.stem}.int8.onnx')
    written = [out, quantized] if int8 else [out]
    refuse_overwriting(written, overwrite, [checkpoint] if checkpoint else [])
    if not out.parent.is_dir():
        raise OptionError(f'--out {out}: there is no folder {out.parent}')
    refuse_without_weights(config, 'export')
    checkpoint = checkpoint_for(config, checkpoint)
    compared = parity_images(images, size)
    calibration = named_images(calibrate_images) if int8 else []
    cfg = run_config(config, ('val',) if data_root else (), cfg_options=cfg_options, data_root=data_root)
    validation = validation_loader(cfg) if data_root else None
    given = len(calibration)
    if validation is not None:
        calibration = images_apart(calibration, validation.dataset)
    if size:  # said before the time of an export is spent
        measured = [] if validation is None else ((path, path) for path in image_paths(validation.dataset))
        refuse_other_sizes(itertools.chain(compared, spread(calibration) if int8 else [], measured), size)
    model = init_model(cfg, checkpoint, 'cpu').requires_grad_(False)
    report = export_model(model, out, size=size, channels=channels, dtype=dtype, threshold=threshold,
                        compared=compared, tolerance=tolerance)  # fmt: skip

    if int8:
        exported = ExportedModel(out, threads=torch.get_num_threads())
        small = quantize_model(exported, out, quantized, calibration, validation, compared)
        report = replace(report, quantized=replace(small, left_out=given - len(calibration)))
    return report


def export_model(
    model: torch.nn.Module,
    out: Path,
    *,
    size: tuple[int, int] | None,
    channels: Literal[1, 3],
    dtype: InputType,
    threshold: float | None,
    compared: Sequence[tuple[str, Image]],
    tolerance: float,
) -> ExportReport:
    """Export a model from :func:`init_model`; the arguments are those of :func:`export`."""
    graph = ExportedGraph(model, channels).eval()
    metadata = describe_graph(model, channels, dtype, size, threshold)
    program, least = trace_program(graph, size, channels, getattr(torch, dtype))
    metadata['input']['min_size'] = None if size else least
    with whole_file(out) as temporary:
        if out.suffix == '.onnx':
            write_onnx(program, temporary, metadata)
        else:
            with open(temporary, 'wb') as file, _quiet():
                torch.export.save(program, file, extra_files={PT2_METADATA: json.dumps(metadata)})
        try:
            parity = compare(model, ExportedModel(temporary, suffix=out.suffix), compared, tolerance)
        except ExportError as e:
            raise e if size else ExportError(f'{e}; {_FIXED}') from e
    return ExportReport(out, metadata, parity)


def trace_program(
    graph: ExportedGraph, size: tuple[int, int] | None, channels: int, dtype: torch.dtype
) -> tuple[torch.export.ExportedProgram, int]:
    """Trace the graph with ``torch.export``.

    Args:
        graph: The graph.
        size: Height and width of the images, or None for an open batch and an open size.
        channels: Of the images.
        dtype: Of the images.

    Returns:
        The program, and the smallest height and width it is for.

    Raises:
        ExportError: If the network cannot be traced.
    """
    preprocessor = graph.model.data_preprocessor
    if size is None and preprocessor.inside_size is not None:
        raise ExportError(
            f'the network resizes images to {preprocessor.inside_size} pixels (inside_size), which is traced for one '
            'size of image only: give --static HxW'
        )
    example = torch.zeros(1 if size else 2, channels, *(size or (100, 150)), dtype=dtype)
    if size:
        return trace(graph, example, None), min(size)
    error = None
    for least in (preprocessor.test_divisor + 1, MIN_SIZE):
        axes = {0: torch.export.Dim('batch', min=1)}
        axes |= {i: torch.export.Dim(name, min=least) for i, name in ((2, 'height'), (3, 'width'))}
        try:
            return trace(graph, example, (axes,)), least
        except ExportError as e:
            if isinstance(e.__cause__, NoGraphError):
                raise
            error = e
    raise ExportError(f'{error}; {_FIXED}') from error


def trace(graph: torch.nn.Module, example: torch.Tensor, axes: Any) -> torch.export.ExportedProgram:
    """Trace a module of one input; ``axes`` are its open dimensions, as ``torch.export`` takes them.

    Raises:
        ExportError: If it cannot be traced.
    """
    try:
        with torch.no_grad(), _quiet():
            graph(example)  # what a module keeps from its first call is then no part of the trace
            return torch.export.export(
                graph, (example,), dynamic_shapes=axes, prefer_deferred_runtime_asserts_over_guards=axes is not None
            )
    except NoGraphError as e:
        raise ExportError(str(e)) from e
    except Exception as e:  # torch.export raises errors of many kinds
        raise ExportError(f'torch.export cannot trace the network: {first_line(e)}') from e


def write_onnx(program: torch.export.ExportedProgram, path: Path, metadata: dict[str, Any]) -> None:
    """Write a program with one input and one output as ONNX.

    Raises:
        ExportError: If an operation has no counterpart there, or the file would be larger than 2 GB.
    """
    try:
        with _quiet():
            onnx = torch.onnx.export(program, dynamo=True, verbose=False, input_names=[INPUT], output_names=[OUTPUT])
            onnx.model.metadata_props[METADATA] = json.dumps(metadata)
            onnx.save(str(path), external_data=False)
    except Exception as e:  # of torch, onnxscript and protobuf
        raise ExportError(f'torch.onnx.export: {first_line(e)}') from e


def _check_options(
    out: Path, static: Sequence[int] | None, channels: int, dtype: str, threshold: float | None, tolerance: float
) -> tuple[int, int] | None:
    if out.suffix not in FORMATS:
        raise ArgumentError(f'--out {out}: the name must end in {" or ".join(FORMATS)}')
    if channels not in (1, 3) or dtype not in ('uint8', 'float32'):
        raise ArgumentError(f'--channels are 1 or 3, --dtype is uint8 or float32; got {channels} and {dtype}')
    if threshold is not None and not 0 <= threshold < 1:
        raise ArgumentError(f'--threshold lies in [0, 1), got {threshold}')
    if not 0 <= tolerance < 1:
        raise ArgumentError(f'--tolerance lies in [0, 1), got {tolerance}')
    if static is None:
        return None
    numbers = tuple(static)
    if len(numbers) != 2 or min(numbers) < 1:
        raise ArgumentError(f'--static takes height and width, HxW, got {numbers}')
    return numbers


def require_onnx() -> None:
    """See that everything is there that writes and runs ONNX.

    Raises:
        ExportError: If not; the message says how to get it.
    """
    require_onnxruntime()
    try:
        import onnx  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as e:
        raise ExportError(f'exporting to ONNX needs {e.name}: {INSTALL}') from e


@contextmanager
def _quiet() -> Iterator[None]:
    """Hold back what torch says of its own internals while it traces and writes."""
    logger = logging.getLogger('torch')
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')
            yield
    finally:
        logger.setLevel(level)
