"""Speed and memory of models, measured side by side.

All models are built first and then timed in turn, a slice of every round each and in another order every round, so that
what else the machine does meets all of them. A model's latency is the median over the rounds, and its ratio to the
reference the median of the ratios within the rounds. See docs/how-to/benchmark.md.
"""

import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from mmirstd.apis import measuring
from mmirstd.apis.benchmark_onnx import onnx_run
from mmirstd.apis.benchmark_report import FILES, read_accuracy, write_benchmark
from mmirstd.apis.benchmark_stages import StageTimer, scene_file
from mmirstd.apis.complexity import (
    TRAINING_ONLY,
    analyze,
    as_data,
    build_model,
    image_shape,
    network_inputs,
    raw_batch,
)
from mmirstd.apis.configuration import CfgOptions, check_checkpoint, parse_options, read_config
from mmirstd.apis.contenders import PRECISIONS, Contender, contenders, find_reference
from mmirstd.apis.exporting import require_onnx
from mmirstd.apis.inference import check_device
from mmirstd.apis.measuring import Run
from mmirstd.checkpoints.fitting import load_strict
from mmirstd.checkpoints.loading import load_state_dict_file
from mmirstd.io.files import refuse_overwriting
from mmirstd.models.layers.reparam import switch_to_deploy
from mmirstd.synthesis.config import MIN_SIZE
from mmirstd.utils.configs import find_config
from mmirstd.utils.errors import ArgumentError
from mmirstd.utils.progress import progress_bar
from mmirstd.utils.text import as_list


@dataclass(frozen=True)
class BenchmarkSettings:
    """The conditions of a benchmark, the same for all models; see :func:`benchmark`."""

    shape: tuple[int, int] = (256, 256)
    batch: int = 1
    threads: int = 1
    device: str = 'cpu'
    end_to_end: bool = False
    stages: bool = False
    cuda_graphs: bool = False
    rounds: int = 15
    seconds: float = 1.0
    warmup: int = 3
    cfg_options: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if min(self.batch, self.threads, self.rounds, self.warmup) < 1:
            raise ArgumentError('--batch, --threads, --rounds and --warmup must be at least 1')
        if not 0 <= self.seconds < float('inf'):
            raise ArgumentError(f'--seconds must be a number from 0, got {self.seconds}')
        if self.cuda_graphs and (self.device != 'cuda' or self.end_to_end):
            raise ArgumentError('--cuda-graphs needs --device cuda, and cannot hold the copies of --end-to-end')
        if self.stages and (self.batch > 1 or self.end_to_end or self.cuda_graphs):
            raise ArgumentError('--stages is of one image at a time, without --end-to-end and --cuda-graphs')
        if self.stages and min(self.shape) < MIN_SIZE:
            raise ArgumentError(f'--stages draws a scene, of at least {MIN_SIZE} x {MIN_SIZE}')


@dataclass
class Prepared:
    """What is known of a contender before it is timed; sizes in bytes, ``macs`` of one image."""

    run: Run | StageTimer
    params: int
    macs: int
    input_size: tuple[int, int]
    weights: int
    memory: int | None = None


def benchmark(
    configs: Sequence[str | Path],
    *,
    shape: int | Sequence[int] = 256,
    batch: int = 1,
    threads: int | None = None,
    device: str = 'cpu',
    precision: str = 'fp32',
    deploy: bool = False,
    channels_last: bool = False,
    compile: bool = False,
    cuda_graphs: bool = False,
    end_to_end: bool = False,
    stages: bool = False,
    rounds: int = 15,
    seconds: float = 1.0,
    warmup: int = 3,
    reference: int | str = 0,
    checkpoints: Sequence[str | Path] = (),
    memory: bool = True,
    cfg_options: CfgOptions | None = None,
    accuracy: str | Path | None = None,
    out: str | Path | None = None,
    overwrite: bool = False,
) -> dict[str, Any]:
    """Measure speed and memory of models side by side.

    Args:
        configs: Paths or names of configs, or ``CONFIG@FORM+FORM`` with some of :data:`FORMS`; one may come twice.
        shape: Height and width of the images in pixels; one number is both.
        batch: Images per call.
        threads: Threads on the CPU; by default PyTorch's choice.
        device: ``'cpu'`` or ``'cuda'``.
        precision: ``'fp32'``, or ``'bf16'`` or ``'fp16'`` with autocast.
        deploy: Fold branches and batch norms of all models.
        channels_last: Weights and images in channels-last layout.
        compile: ``torch.compile``.
        cuda_graphs: Replay the network as a CUDA graph.
        end_to_end: From uint8 images in main memory to their masks there, instead of the network alone.
        stages: From an image file to its detections, with the shares of reading, network and post-processing.
        rounds: How often each model has its turn.
        seconds: Per model and round; at least one call is made.
        warmup: Calls per model before all rounds.
        reference: Whose latency the others' are divided by: a place, or a config as given or by name.
        checkpoints: One per config, ``'-'`` for random weights; by default all are random.
        memory: Measure the peak memory, on a CPU in a process per model.
        cfg_options: Changes of all configs: dotted keys and values, or ``'KEY=VALUE'`` texts.
        accuracy: JSON file ``{"IoU on ...": {config name: value}}`` for a picture; needs ``out``.
        out: Folder for ``benchmark.{json,csv,md}`` and, with ``accuracy``, ``benchmark.png``.
        overwrite: Allow replacing them.

    Returns:
        Settings, machine and one row per model, in plain values: times in seconds, sizes in bytes.

    Raises:
        ArgumentError: If a setting is impossible, or there is no such form or reference.
        FileNotFoundError: If there is no such config or checkpoint.
        FileExistsError: If ``out`` holds a result.
        RuntimeError: If there is no CUDA device, or measuring memory fails.
    """
    settings = BenchmarkSettings(
        shape=image_shape(shape),
        batch=batch,
        threads=torch.get_num_threads() if threads is None else threads,
        device=device,
        end_to_end=end_to_end,
        stages=stages,
        cuda_graphs=cuda_graphs,
        rounds=rounds,
        seconds=seconds,
        warmup=warmup,
        cfg_options=parse_options(cfg_options),
    )
    flags = {'deploy': deploy, 'channels_last': channels_last, 'compile': compile, 'precision': precision}
    configs, checkpoints = (list(map(str, as_list(given))) for given in (configs, checkpoints))
    models = contenders(configs, checkpoints, flags)
    place = find_reference(str(reference), models, configs)
    if accuracy and not out:
        raise ArgumentError('--accuracy makes a picture: say where with --out')
    check_device(device)
    for model in models:
        find_config(model.config)
        if model.checkpoint:
            check_checkpoint(model.checkpoint)
        if model.onnx:
            check_onnx(model, settings)
    values = read_accuracy(accuracy, models) if accuracy else {}
    if out:
        refuse_overwriting((Path(out) / name for name in FILES), overwrite, [accuracy] if accuracy else [])
    with _settings_of_torch(settings.threads):
        result = measure_contenders(models, place, settings, memory)
    if out:
        write_benchmark(out, result, values)
    return result


@contextmanager
def _settings_of_torch(threads: int) -> Iterator[None]:
    before = torch.get_num_threads(), torch.backends.cudnn.benchmark
    torch.set_num_threads(threads)
    torch.backends.cudnn.benchmark = True
    try:
        yield
    finally:
        torch.set_num_threads(before[0])
        torch.backends.cudnn.benchmark = before[1]


def check_onnx(contender: Contender, settings: BenchmarkSettings) -> None:
    """See that onnxruntime can do what is asked for.

    Raises:
        ArgumentError: On a GPU, and with stages, which are those of PyTorch's inferencer.
        ExportError: If a package is missing.
    """
    if settings.device != 'cpu' or settings.stages:
        raise ArgumentError(f'{contender.name}: onnx is measured on the CPU, without --stages')
    require_onnx()


def build(contender: Contender, cfg_options: dict[str, Any]) -> nn.Module:
    """Build a model in its form on the CPU; nothing is initialized from pretrained files."""
    cfg = read_config(contender.config, cfg_options)
    torch.manual_seed(0)
    model = build_model(cfg)
    if file := contender.checkpoint:
        load_strict(model, load_state_dict_file(file), file)
    model.cfg, model.operating_point = cfg, None
    if contender.deploy:
        switch_to_deploy(model)
    return model.requires_grad_(False)


def prepare_contender(contender: Contender, settings: BenchmarkSettings) -> Prepared:
    """Build a model, count its parameters and multiply-adds, and make what is to be timed."""
    model = build(contender, settings.cfg_options)
    (whole, *_), input_size = analyze(model, *settings.shape, depth=0)
    tensors = [*model.named_parameters(), *model.named_buffers()]
    weights = sum(t.nbytes for name, t in tensors if not name.startswith(TRAINING_ONLY))
    return Prepared(runnable(model, contender, settings), whole.params, whole.macs, input_size, weights)


def runnable(model: nn.Module, contender: Contender, settings: BenchmarkSettings) -> Run:
    """What is to be timed, on its device."""
    layout = torch.channels_last if contender.channels_last else torch.contiguous_format
    model = model.to(settings.device).to(memory_format=layout)
    if contender.compile:
        model.encode_decode = torch.compile(model.encode_decode, dynamic=False)
    images = raw_batch(model, settings.batch, *settings.shape)
    if contender.onnx:
        options = {'int8': contender.int8, 'end_to_end': settings.end_to_end, 'threads': settings.threads}
        return onnx_run(model, images, **options)
    if settings.stages:
        step = in_precision(model.test_step, contender.precision, settings)
        return StageTimer(model, scene_file(*settings.shape), step)
    run = image_to_mask(model, images) if settings.end_to_end else network(model, images, layout)
    return in_precision(run, contender.precision, settings)


def network(model: nn.Module, images: list[Tensor], layout: torch.memory_format) -> Run:
    """From preprocessed images to logits, which the head resizes to what the network sees."""
    inputs, metas = network_inputs(model, images)
    inputs = inputs.contiguous(memory_format=layout)
    return lambda: model.encode_decode(inputs, metas)


def image_to_mask(model: nn.Module, images: list[Tensor]) -> Run:
    """From uint8 images in main memory to uint8 masks there; the preprocessor chooses the layout of its output."""

    def run() -> Tensor:
        samples = model.test_step(as_data(images))
        return torch.stack([sample.pred_sem_seg.data for sample in samples]).to('cpu', torch.uint8)

    return run


def in_precision(run: Callable, precision: str, settings: BenchmarkSettings) -> Callable:
    """Run without gradients and, below float32, in autocast, whose cache of weights a graph cannot hold."""
    lower, cached = precision != 'fp32', not settings.cuda_graphs
    dtype = PRECISIONS[precision] if lower else None

    def cast(*args: Any) -> Any:
        with torch.no_grad(), torch.autocast(settings.device, dtype, enabled=lower, cache_enabled=cached):
            return run(*args)

    return cast


def summarize_rounds(values: Sequence[float]) -> dict[str, float]:
    """Median and quartiles over the rounds."""
    q1, median, q3 = np.percentile(values, [25, 50, 75])
    return {'median': float(median), 'q1': float(q1), 'q3': float(q3)}


def cpu_memory(contender: Contender, settings: BenchmarkSettings) -> int | None:
    """Growth in a process of its own, as other models leave memory that this one would find, in bytes; else None.

    There is none for onnxruntime, which keeps the memory of its first call.

    Raises:
        RuntimeError: If the process ends without a result.
    """
    if contender.onnx or not measuring.CLEAR_REFS.exists():
        return None
    with ProcessPoolExecutor(1, get_context('spawn')) as pool:
        return pool.submit(_growth_of, contender, settings).result()


def _growth_of(contender: Contender, settings: BenchmarkSettings) -> int:
    torch.set_num_threads(settings.threads)
    run = runnable(build(contender, settings.cfg_options), contender, settings)
    return measuring.resident_growth(run, settings.warmup)


def measure_contenders(
    models: Sequence[Contender], reference: int, settings: BenchmarkSettings, memory: bool
) -> dict[str, Any]:
    """Measure; the result is plain data."""
    prepared: dict[str, Prepared] = {}
    for contender in progress_bar(models, 'models'):
        one = prepared[contender.name] = prepare_contender(contender, settings)
        for _ in range(settings.warmup):
            one.run()
        if memory:
            on_gpu = settings.device == 'cuda'
            growth = measuring.gpu_memory(one.run) if on_gpu else cpu_memory(contender, settings)
            one.memory = None if growth is None else growth + one.weights
        if settings.cuda_graphs:
            one.run = measuring.as_cuda_graph(one.run)
    load = [os.getloadavg()[0]] if hasattr(os, 'getloadavg') else []
    for one in prepared.values():
        if isinstance(one.run, StageTimer):
            one.run.seconds.clear()
    timed = {name: measuring.timer(one.run, settings.device) for name, one in prepared.items()}
    rounds = measuring.interleave(timed, settings.rounds, settings.seconds)
    load += [os.getloadavg()[0]] if load else []
    rows = []
    for contender in models:
        name, one = contender.name, prepared[contender.name]
        medians, of = ([float(np.median(r[n])) for r in rounds] for n in (name, models[reference].name))
        latency = summarize_rounds(medians)
        row = asdict(contender) | {'form': contender.form, 'input_size': list(one.input_size)}
        row |= {'params': one.params, 'macs': one.macs, 'memory_bytes': one.memory, 'latency_s': latency}
        row |= {'images_per_s': settings.batch / latency['median']}
        row |= {'ratio': summarize_rounds([a / b for a, b in zip(medians, of, strict=True)])}
        if isinstance(one.run, StageTimer):
            row |= {'stages_s': one.run.medians()}
        rows.append(row | {'rounds_s': medians, 'calls': sum(len(r[name]) for r in rounds)})
    about = {'settings': asdict(settings), 'machine': measuring.machine(settings.device), 'load': load}
    about |= {'date': time.strftime('%Y-%m-%d'), 'reference': models[reference].name}
    return about | {'order': [list(r) for r in rounds], 'models': rows}
