"""Speed of models side by side: ``python tools/analysis_tools/benchmark.py CONFIG [CONFIG ...] --out DIR``.

All models are built first and then timed in turn, a slice of every round each and in another order every round, so that
what else the machine does meets all of them. A model's latency is the median over the rounds, and its ratio to the
reference the median of the ratios within the rounds. See docs/how-to/benchmark.md.
"""

import argparse
import ctypes
import gc
import json
import os
import platform
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))
import get_flops  # first, as it says what to do where mmirstd is missing
import numpy as np
import torch
from benchmark_report import as_csv, markdown, picture
from mmengine.config import Config, DictAction
from mmengine.model import revert_sync_batchnorm
from mmseg.structures import SegDataSample
from torch import Tensor, nn
from tqdm import tqdm

from mmirstd.apis import tool_options as cli
from mmirstd.checkpoints.loading import load_state_dict_file, load_strict
from mmirstd.io.files import write_atomically
from mmirstd.models.layers.reparam import switch_to_deploy

PRECISIONS = {'fp32': torch.float32, 'bf16': torch.bfloat16, 'fp16': torch.float16}
FORMS = ('deploy', 'channels-last', 'compile', *PRECISIONS)
FILES = ('benchmark.json', 'benchmark.csv', 'benchmark.md', 'benchmark.png')
CLEAR_REFS = Path('/proc/self/clear_refs')
Run = Callable[[], Tensor]


@dataclass(frozen=True)
class Contender:
    """A model and the form it runs in."""

    name: str
    config: str
    checkpoint: str | None = None
    deploy: bool = False
    channels_last: bool = False
    compile: bool = False
    precision: str = 'fp32'

    @property
    def form(self) -> str:
        """In words."""
        chosen = [f for f in FORMS[:3] if getattr(self, f.replace('-', '_'))]
        return ', '.join(chosen + [self.precision] * (self.precision != 'fp32')) or 'as trained'


@dataclass
class Prepared:
    """What is known of a contender before it is timed; sizes in bytes, ``macs`` of one image."""

    run: Run
    params: int
    macs: int
    input_size: tuple[int, int]
    weights: int
    memory: int | None = None


@dataclass
class Summary:
    """Median and quartiles over the rounds."""

    median: float
    q1: float
    q3: float


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description='Speed and memory of models, measured side by side.')
    add = parser.add_argument
    add('configs', nargs='+', metavar='CONFIG', help='config file, or CONFIG@FORM+FORM: ' + ', '.join(FORMS))
    add('--shape', type=int, nargs='+', default=[256, 256], metavar=('H', 'W'), help='image size (default: 256 256)')
    add('--batch', type=int, default=1, metavar='N', help='images per call (default: 1)')
    add('--threads', type=int, default=torch.get_num_threads(), metavar='N', help="default: PyTorch's choice")
    add('--device', choices=['cpu', 'cuda'], default='cpu')
    add('--precision', choices=list(PRECISIONS), default='fp32', help='below fp32 with autocast')
    add('--deploy', action='store_true', help='fold branches and batch norms, of all models')
    add('--channels-last', action='store_true', help='weights and images in channels-last layout')
    add('--compile', action='store_true', help='torch.compile')
    add('--cuda-graphs', action='store_true', help='replay the network as a CUDA graph')
    add('--end-to-end', action='store_true', help='from uint8 images in main memory to their masks there')
    add('--rounds', type=int, default=15, metavar='N', help='default: 15')
    add('--seconds', type=float, default=1.0, metavar='S', help='per model and round, at least one call (default: 1)')
    add('--warmup', type=int, default=3, metavar='N', help='calls per model before all rounds (default: 3)')
    add('--reference', default='0', metavar='CONFIG|N', help='a CONFIG as given, or its place; default: 0, the first')
    add('--checkpoints', nargs='+', metavar='FILE', help="one per CONFIG, '-' for random weights (default: all random)")
    add('--accuracy', type=Path, metavar='FILE.json', help='{"IoU on ...": {CONFIG name: value}}, for the picture')
    add('--no-memory', action='store_true', help='do not measure memory (CPU: a process per model)')
    add('--cfg-options', nargs='+', action=DictAction, default={}, metavar='KEY=VALUE', help='change all configs')
    add('--out', type=Path, metavar='DIR', help='write benchmark.{json,csv,md} and, with --accuracy, .png there')
    add('--child', type=int, help=argparse.SUPPRESS)  # measure only the memory of this contender
    args = parser.parse_args(argv)
    if len(args.shape) > 2 or min(args.shape) < 1:
        parser.error(f'--shape takes a height and a width (or one number for both), got {args.shape}')
    if min(args.batch, args.threads, args.rounds, args.warmup) < 1:
        parser.error('--batch, --threads, --rounds and --warmup must be at least 1')
    if not 0 <= args.seconds < float('inf'):
        parser.error(f'--seconds must be a number from 0, got {args.seconds}')
    if args.cuda_graphs and (args.device != 'cuda' or args.end_to_end):
        parser.error('--cuda-graphs needs --device cuda, and cannot hold the copies of --end-to-end')
    if args.checkpoints and len(args.checkpoints) != len(args.configs):
        parser.error(f'{len(args.checkpoints)} --checkpoints for {len(args.configs)} configs')
    if args.accuracy and not args.out:
        parser.error('--accuracy makes a picture: say where with --out')
    try:
        args.contenders = contenders(args)
        args.reference = find_reference(args.reference, args.contenders, args.configs)
    except ValueError as e:
        parser.error(str(e))
    return args


def contenders(args: argparse.Namespace) -> list[Contender]:
    """Make names and forms of what is to be measured; a config may come several times.

    Raises:
        ValueError: For an unknown form, or two precisions.
    """
    found, seen = [], Counter()
    everywhere = {'deploy': args.deploy, 'channels_last': args.channels_last, 'compile': args.compile}
    for i, given in enumerate(args.configs):
        config, at, suffix = (given, '', '') if os.path.isfile(given) else given.rpartition('@')
        config, forms = (config, suffix.split('+')) if at else (given, [])
        if wrong := [form for form in forms if form not in FORMS]:
            raise ValueError(f'{given}: there is no form {wrong[0]!r}; forms are {", ".join(FORMS)}')
        own = [form for form in forms if form in PRECISIONS]
        if len(own) > 1:
            raise ValueError(f'{given}: one precision, not {" and ".join(own)}')
        name = Path(config).stem + (at and f'@{suffix}')
        seen[name] += 1
        flags = everywhere | {form.replace('-', '_'): True for form in forms if form not in PRECISIONS}
        checkpoint = args.checkpoints[i] if args.checkpoints else '-'
        name = name if seen[name] == 1 else f'{name}#{seen[name]}'
        flags['precision'] = own[0] if own else args.precision
        found.append(Contender(name, config, None if checkpoint == '-' else checkpoint, **flags))
    return found


def find_reference(asked: str, models: Sequence[Contender], configs: Sequence[str]) -> int:
    """Place of the reference, which is given by its place, its name, or the config as on the command line.

    Raises:
        ValueError: If there is none.
    """
    known = list(map(str, range(len(models)))), [m.name for m in models], list(configs)
    for names in known:
        if asked in names:
            return names.index(asked)
    raise ValueError(f'--reference {asked}: give a place from 0 to {len(models) - 1}, or one of {", ".join(known[1])}')


def read_accuracy(path: Path, models: Sequence[Contender]) -> dict[str, dict[str, float]]:
    """Read values by figure and model; those of a config count for its forms, unless a form has its own.

    Raises:
        ValueError: If the file is not of that form or has a name that is none of the models'.
    """
    try:
        figures = json.loads(path.read_text())
        given = {figure: {name: float(value) for name, value in values.items()} for figure, values in figures.items()}
    except (AttributeError, TypeError, ValueError) as e:
        raise ValueError(f'{path} must hold {{"figure": {{"model": number}}}}: {e}') from None
    found, known = {}, {name for m in models for name in (m.name, Path(m.config).stem)}
    for figure, values in given.items():
        if wrong := sorted(values.keys() - known):
            raise ValueError(f'{path}: {figure}: no measured model is called {wrong[0]}; there are {sorted(known)}')
        plain = {m.name: values.get(m.name, values.get(Path(m.config).stem)) for m in models}
        found[figure] = {name: value for name, value in plain.items() if value is not None}
    return found


def build(contender: Contender, cfg_options: dict[str, Any]) -> nn.Module:
    """Build a model in its form on the CPU; nothing is initialised from pretrained files."""
    cfg = Config.fromfile(contender.config)
    for key in cfg_options:
        cli.check_option(cfg, key)
    cfg.merge_from_dict(cfg_options)
    torch.manual_seed(0)
    model = get_flops.build_model(cfg)
    if file := contender.checkpoint:
        load_strict(model, load_state_dict_file(file), file)
    if contender.deploy:
        switch_to_deploy(model)
    return revert_sync_batchnorm(model).eval().requires_grad_(False)


def prepare(contender: Contender, args: argparse.Namespace) -> Prepared:
    """Build a model, count its parameters and multiply-adds, and make what is to be timed."""
    model = build(contender, args.cfg_options)
    (whole, *_), input_size = get_flops.analyse(model, args.shape[0], args.shape[-1], depth=0)
    tensors = [*model.named_parameters(), *model.named_buffers()]
    weights = sum(t.nbytes for name, t in tensors if not name.startswith(get_flops.TRAINING_ONLY))
    return Prepared(runnable(model, contender, args), whole.params, whole.macs, input_size, weights)


def runnable(model: nn.Module, contender: Contender, args: argparse.Namespace) -> Run:
    """What is to be timed, on its device."""
    layout = torch.channels_last if contender.channels_last else torch.contiguous_format
    model = model.to(args.device).to(memory_format=layout)
    if contender.compile:
        model.encode_decode = torch.compile(model.encode_decode, dynamic=False)
    images = raw_batch(model, args.batch, args.shape[0], args.shape[-1])
    run = image_to_mask(model, images) if args.end_to_end else network(model, images, layout)
    return in_precision(run, contender.precision, args)


def raw_batch(model: nn.Module, batch: int, height: int, width: int) -> list[Tensor]:
    """Make random uint8 images (C, H, W), the same for all models of C channels."""
    mean = getattr(model.data_preprocessor, 'mean', None)
    channels = 3 if mean is None else len(mean)
    generator = torch.Generator().manual_seed(0)
    shape = (channels, height, width)
    return [torch.randint(256, shape, generator=generator, dtype=torch.uint8) for _ in range(batch)]


def as_data(images: list[Tensor]) -> dict[str, list]:
    """Pack images as a data loader does."""
    sizes = [tuple(image.shape[1:]) for image in images]
    samples = [SegDataSample(metainfo={'ori_shape': size, 'img_shape': size}) for size in sizes]
    return {'inputs': list(images), 'data_samples': samples}


def network(model: nn.Module, images: list[Tensor], layout: torch.memory_format) -> Run:
    """From preprocessed images to logits, which the head resizes to what the network sees."""
    data = model.data_preprocessor(as_data(images))
    inputs = data['inputs'].contiguous(memory_format=layout)
    metas = [sample.metainfo for sample in data['data_samples']]
    return lambda: model.encode_decode(inputs, metas)


def image_to_mask(model: nn.Module, images: list[Tensor]) -> Run:
    """From uint8 images in main memory to uint8 masks there; the preprocessor chooses the layout of its output."""

    def run() -> Tensor:
        samples = model.test_step(as_data(images))
        return torch.stack([sample.pred_sem_seg.data for sample in samples]).to('cpu', torch.uint8)

    return run


def in_precision(run: Run, precision: str, args: argparse.Namespace) -> Run:
    """Run without gradients and, below float32, in autocast, whose cache of weights a graph cannot hold."""
    lower, cached = precision != 'fp32', not args.cuda_graphs
    dtype = PRECISIONS[precision] if lower else None

    def cast() -> Tensor:
        with torch.no_grad(), torch.autocast(args.device, dtype, enabled=lower, cache_enabled=cached):
            return run()

    return cast


def as_cuda_graph(run: Run) -> Callable[[], None]:
    """Capture a warmed-up call; the result replays it."""
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        run()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        output = run()
    return lambda output=output: graph.replay()  # the output's memory must stay alive with the graph


def timer(run: Callable[[], Any], device: str) -> Callable[[], float]:
    """A function that makes one call and returns its seconds; on a GPU between two events on the stream."""
    if device == 'cpu':

        def timed() -> float:
            start = time.perf_counter()
            run()
            return time.perf_counter() - start

    else:
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))

        def timed() -> float:
            start.record()
            run()
            end.record()
            end.synchronize()
            return start.elapsed_time(end) / 1e3

    return timed


def interleave(timed: dict[str, Callable[[], float]], rounds: int, seconds: float) -> list[dict[str, list[float]]]:
    """Seconds of all calls, by round and model, in the order they were made in.

    Every round starts with the next model. A slice lasts until its calls took ``seconds``, and has one call more before
    them that does not count, since caches hold the previous model.
    """
    names, found = list(timed), []
    enabled = gc.isenabled()
    gc.disable()
    try:
        for r in tqdm(range(rounds), desc='rounds', file=sys.stderr):
            first = r % len(names)
            found.append({})
            for name in names[first:] + names[:first]:
                timed[name]()
                calls = found[-1][name] = [timed[name]()]
                while sum(calls) < seconds:
                    calls.append(timed[name]())
            gc.collect()
    finally:
        if enabled:
            gc.enable()
    return found


def summarise(values: Sequence[float]) -> Summary:
    """Median and quartiles."""
    q1, median, q3 = np.percentile(values, [25, 50, 75])
    return Summary(float(median), float(q1), float(q3))


def resident_growth(run: Run, warmup: int) -> int:
    """How far a warmed-up call raises the resident memory of this process, in bytes; Linux only."""
    for _ in range(warmup):
        run()
    gc.collect()
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)  # what earlier calls freed would hide what this one takes
    CLEAR_REFS.write_text('5')  # the peak starts again from here
    before = _status('VmRSS')
    run()
    return max(_status('VmHWM') - before, 0)


def _status(key: str) -> int:
    lines = Path('/proc/self/status').read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f'{key}:')) * 1024


def cpu_memory(argv: Sequence[str], place: int) -> int | None:
    """Growth measured in a process of its own, as other models leave memory that this one would find; else None."""
    if not CLEAR_REFS.exists():
        return None
    command = [sys.executable, str(Path(__file__).resolve()), *argv, '--child', str(place)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        told = done.stderr.strip().splitlines() or ['no message']
        raise RuntimeError(f'measuring memory ended with exit status {done.returncode}: {told[-1]}')
    return int(done.stdout.strip().splitlines()[-1])


def gpu_memory(run: Run) -> int:
    """How far a call raises the allocated memory of the GPU, in bytes."""
    run()
    torch.cuda.synchronize()
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    run()
    torch.cuda.synchronize()
    return torch.cuda.max_memory_allocated() - before


def machine(device: str) -> dict[str, Any]:
    """What the numbers were measured on."""
    with suppress(OSError, StopIteration):
        lines = Path('/proc/cpuinfo').read_text().splitlines()
        cpu = next(line.partition(':')[2].strip() for line in lines if line.startswith('model name'))
        return _machine(cpu, device)
    return _machine(platform.processor() or platform.machine(), device)


def _machine(cpu: str, device: str) -> dict[str, Any]:
    found = {'cpu': cpu, 'cores': os.cpu_count(), 'system': platform.system(), 'python': platform.python_version()}
    found |= {'torch': torch.__version__}
    if device == 'cuda':
        found |= {'gpu': torch.cuda.get_device_name(), 'cuda': torch.version.cuda}
        found |= {'tf32': {'conv': torch.backends.cudnn.allow_tf32, 'matmul': torch.backends.cuda.matmul.allow_tf32}}
    return found


def measure(args: argparse.Namespace, argv: Sequence[str]) -> dict[str, Any]:
    """All that ``--out`` keeps as JSON."""
    models: dict[str, Prepared] = {}
    for i, contender in enumerate(tqdm(args.contenders, desc='models', file=sys.stderr)):
        prepared = models[contender.name] = prepare(contender, args)
        for _ in range(args.warmup):
            prepared.run()
        if not args.no_memory:
            growth = gpu_memory(prepared.run) if args.device == 'cuda' else cpu_memory(argv, i)
            prepared.memory = None if growth is None else growth + prepared.weights
        if args.cuda_graphs:
            prepared.run = as_cuda_graph(prepared.run)
    load = [os.getloadavg()[0]] if hasattr(os, 'getloadavg') else []
    rounds = interleave({n: timer(p.run, args.device) for n, p in models.items()}, args.rounds, args.seconds)
    load += [os.getloadavg()[0]] if load else []
    reference = args.contenders[args.reference].name
    rows = []
    for contender in args.contenders:
        name, prepared = contender.name, models[contender.name]
        medians = {n: [float(np.median(r[n])) for r in rounds] for n in (name, reference)}
        latency = summarise(medians[name])
        ratio = summarise([t / of for t, of in zip(medians[name], medians[reference], strict=True)])
        row = asdict(contender) | {'form': contender.form, 'input_size': prepared.input_size}
        row |= {'params': prepared.params, 'macs': prepared.macs, 'memory_bytes': prepared.memory}
        row |= {'latency_s': asdict(latency), 'images_per_s': args.batch / latency.median, 'ratio': asdict(ratio)}
        rows.append(row | {'rounds_s': medians[name], 'calls': sum(len(r[name]) for r in rounds)})
    keys = ('batch', 'threads', 'device', 'end_to_end', 'cuda_graphs', 'rounds', 'seconds', 'warmup', 'cfg_options')
    settings = {'shape': [args.shape[0], args.shape[-1]]} | {key: getattr(args, key) for key in keys}
    order = [list(r) for r in rounds]
    about = {'settings': settings, 'machine': machine(args.device), 'load': load, 'date': time.strftime('%Y-%m-%d')}
    return about | {'reference': reference, 'order': order, 'models': rows}


def main(argv: Sequence[str] | None = None) -> None:
    """Measure, print the table, and write the files."""
    argv = list(sys.argv[1:] if argv is None else argv)
    args = parse_args(argv)
    with cli.one_line_errors():
        if args.device == 'cuda' and not torch.cuda.is_available():
            raise SystemExit(f'error: --device cuda: PyTorch {torch.__version__} finds no CUDA device')
        for file in (file for m in args.contenders for file in (m.config, m.checkpoint) if file):
            if not os.path.isfile(file):
                raise FileNotFoundError(f'there is no file {file}')
        torch.backends.cudnn.benchmark = True
        torch.set_num_threads(args.threads)
        if args.child is not None:
            chosen = args.contenders[args.child]
            print(resident_growth(runnable(build(chosen, args.cfg_options), chosen, args), args.warmup))
            return
        accuracy = read_accuracy(args.accuracy, args.contenders) if args.accuracy else {}
        if args.out and (there := [str(args.out / name) for name in FILES if (args.out / name).exists()]):
            raise SystemExit(f'error: {there[0]} is there already: choose another --out')
        result = measure(args, argv)
        text = markdown(result)
        print(text, end='')
        if args.out:
            args.out.mkdir(parents=True, exist_ok=True)
            contents = [(json.dumps(result, indent=2) + '\n').encode(), as_csv(result).encode(), text.encode()]
            contents += [picture(result, accuracy)] if accuracy else []
            for name, content in zip(FILES, contents, strict=False):
                write_atomically(args.out / name, content)
            print(f'written to {args.out}')


if __name__ == '__main__':
    main()
