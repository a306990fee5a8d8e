"""Time the evaluation of one image against the usual single-threshold stack, side by side, on one core.

The stack is ``PlainStack`` of tests/evaluation/plain_evaluation.py: IoU, nIoU and Pd/Fa as three passes over the image,
component by component, as DNANet's, BasicIRSTD's and SCTransNet's code does it, but with SciPy's labeling, which is
faster than theirs. Both get maps and masks as they are, and resizing to the size of a preset is in both times. Every
round visits the images in another order and times all contenders on an image before the next; of an image's rounds the
fastest counts. Prints a Markdown table of means over the images.
"""

import argparse
import gc
import importlib.util
import platform
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import scipy

from mmirstd.evaluation import PRESETS, Protocol, get_protocol, image_counts, protocol_counts
from mmirstd.evaluation.analysis.pairing import pair_files
from mmirstd.evaluation.analysis.predictions import hold_labels, read_prediction
from mmirstd.io.masks import read_mask
from mmirstd.io.tables import markdown_rows
from mmirstd.ops.resizing import resize_nearest, resize_prediction
from mmirstd.utils.progress import progress_bar

PLAIN = Path(__file__).resolve().parents[2] / 'tests/evaluation/plain_evaluation.py'
Images = list[tuple[np.ndarray, np.ndarray]]


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
    parser.add_argument('pred_dir', nargs='?', type=Path, help='folder of predictions; by default cases are generated')
    parser.add_argument('mask_dir', nargs='?', type=Path, help='folder of their masks')
    parser.add_argument('--preset', nargs='+', default=['all'], metavar='NAME', help='presets, or all (default)')
    parser.add_argument('--images', type=int, default=50, metavar='N', help='take at most N images (default 50)')
    parser.add_argument('--size', type=int, default=256, metavar='N', help='generated images are N x N (default 256)')
    parser.add_argument('--rounds', type=int, default=7, metavar='N', help='time every image N times (default 7)')
    parser.add_argument('--seed', type=int, default=0, help='of the generated cases and of the order')
    args = parser.parse_args(argv)
    if (args.pred_dir is None) != (args.mask_dir is None):
        parser.error('give both PRED_DIR and MASK_DIR, or neither')
    if min(args.images, args.rounds) < 1 or args.size < 16:
        parser.error('--images and --rounds must be at least 1, --size at least 16')
    unknown = [name for name in args.preset if name not in PRESETS and name != 'all']
    if unknown:
        parser.error(f'there is no preset {unknown[0]!r}; there are {", ".join(PRESETS)} and all')
    names = [name for asked in args.preset for name in (PRESETS if asked == 'all' else [asked])]
    args.preset = list(dict.fromkeys(names))
    return args


def generated_images(number: int, size: int, seed: int) -> Images:
    """Make maps as networks put them out: soft blobs of 1 to 4 targets, moved, missed or false, over a faint ground."""
    rng = np.random.default_rng(seed)
    rows, cols = np.arange(size)[:, None], np.arange(size)
    images = []
    for _ in range(number):
        mask, prediction = np.zeros((size, size), bool), 0.02 * rng.random((size, size)) ** 4
        for _ in range(rng.integers(1, 5)):
            center, radius = rng.random(2) * size, 1 + 3 * rng.random()
            mask |= np.hypot(rows - center[0], cols - center[1]) < radius
            if rng.random() < 0.15:
                center = rng.random(2) * size
            center = center + rng.normal(0, 0.5, 2)
            apart = np.hypot(rows - center[0], cols - center[1])
            prediction = np.maximum(prediction, 1 / (1 + np.exp(3 * np.clip(apart - radius, -10, 10))))
        images.append((prediction.astype(np.float32), mask.astype(np.uint8) * np.uint8(255)))
    return images


def read_images(pred_dir: Path, mask_dir: Path, number: int) -> Images:
    """Read the first pairs of two folders, and leave out those that are not of one size."""
    found = pair_files(pred_dir, mask_dir)
    pairs = [p for p in found.pairs if p.prediction is not None and p.img_id not in found.sizes][:number]
    if not pairs:
        raise SystemExit(f'{pred_dir} holds no prediction of the size of its mask in {mask_dir}')
    labels = hold_labels([p.prediction for p in pairs])
    return [(read_prediction(p.prediction, labels=labels), read_mask(p.mask)[0]) for p in pairs]


def load_plain_stack() -> type:
    """Load the class PlainStack, which is kept with the tests."""
    if not PLAIN.is_file():
        raise SystemExit(f'{PLAIN} is missing: run this script from a checkout of the repository')
    spec = importlib.util.spec_from_file_location('plain_evaluation', PLAIN)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.PlainStack


def at_size(image: tuple[np.ndarray, np.ndarray], protocol: Protocol) -> tuple[np.ndarray, np.ndarray]:
    """Map and labels at the size at which a protocol evaluates."""
    prediction, mask = image
    if protocol.shape is not None:
        prediction = resize_prediction(prediction, protocol.shape, protocol.pred_interpolation)
        mask = resize_nearest(mask, protocol.shape, protocol.mask_interpolation)
    return prediction, (mask >= 128).astype(np.uint8)


def evaluations(presets: Sequence[str]) -> list[Protocol]:
    """Presets, and those that take an area under a curve of many thresholds also with one threshold alone."""
    found = []
    for protocol in map(get_protocol, presets):
        found.append(protocol)
        if protocol.auc_bins is not None:
            found.append(replace(protocol, name=f'{protocol.name} without AUC', auc_bins=None))
    return found


def contenders(images: Images, presets: Sequence[str], plain: Callable) -> dict[str, Callable[[int], object]]:
    """Name and what is timed: a function of the number of an image."""
    native = [at_size(image, PRESETS['exact']) for image in images]
    found = {'plain native': lambda i: plain(*native[i]), 'image_counts': lambda i: image_counts(*native[i])}
    for protocol in evaluations(presets):
        found[protocol.name] = lambda i, chosen=[protocol]: protocol_counts(*images[i], chosen)
        if protocol.shape is not None and f'plain {protocol.shape}' not in found:
            found[f'plain {protocol.shape}'] = lambda i, protocol=protocol: plain(*at_size(images[i], protocol))
    if len(presets) > 1:
        together = [get_protocol(name) for name in presets]
        found['together'] = lambda i: protocol_counts(*images[i], together)
    return found


def measure(timed: dict[str, Callable[[int], object]], number: int, rounds: int, seed: int) -> dict[str, float]:
    """Return the mean over images of the fastest round of each contender, in seconds."""
    shuffle, fastest = random.Random(seed).shuffle, {name: [float('inf')] * number for name in timed}
    order, names = list(range(number)), list(timed)
    gc.disable()
    try:
        for _ in progress_bar(range(rounds + 1), 'rounds'):  # the first warms up, as the fastest counts
            shuffle(order)
            for i in order:
                shuffle(names)
                for name in names:
                    start = time.perf_counter()
                    timed[name](i)
                    fastest[name][i] = min(fastest[name][i], time.perf_counter() - start)
            gc.collect()
    finally:
        gc.enable()
    return {name: sum(times) / number for name, times in fastest.items()}


def table(seconds: dict[str, float], presets: Sequence[str]) -> str:
    """Lay the times out as Markdown."""
    native, total = seconds['plain native'], 0.0
    columns = {
        'evaluation': 'evaluation',
        'size': 'at',
        'ours': 'here, ms',
        'stack': 'stack at that size, ms',
        'gain': 'times faster',
        'native': 'stack, native, ms',
        'native gain': 'times faster',
    }
    rows = []

    def add(name: str, size: str, ours: float, stack: float, natives: float = native) -> None:
        values = (name, size, ours * 1e3, stack * 1e3, stack / ours, natives * 1e3, natives / ours)
        rows.append(dict(zip(columns, values, strict=True)))

    add('image_counts', 'native', seconds['image_counts'], native)
    for protocol in evaluations(presets):
        shape = protocol.shape
        stack = native if shape is None else seconds[f'plain {shape}']
        total += stack if protocol.name in presets else 0
        add(protocol.name, 'native' if shape is None else f'{shape[0]} x {shape[1]}', seconds[protocol.name], stack)
    if len(presets) > 1:
        add(f'all {len(presets)} together', '', seconds['together'], total, native * len(presets))
    return markdown_rows(rows, columns, digits={'ours': 3, 'stack': 2, 'gain': 1, 'native': 2, 'native gain': 1})


def main(argv: Sequence[str] | None = None) -> None:
    """Run the benchmark and print the table."""
    args = parse_args(argv)
    cv2.setNumThreads(1)
    if args.pred_dir is None:
        images = generated_images(args.images, args.size, args.seed)
        what = f'{len(images)} generated images of {args.size} x {args.size}'
    else:
        images = read_images(args.pred_dir, args.mask_dir, args.images)
        what = f'{len(images)} predictions of {args.pred_dir.name}'
    plain = load_plain_stack()().update
    seconds = measure(contenders(images, args.preset, plain), len(images), args.rounds, args.seed)
    print(
        f'{what}, {args.rounds} rounds; {platform.machine()}, Python {platform.python_version()}, '
        f'NumPy {np.__version__}, SciPy {scipy.__version__}, OpenCV {cv2.__version__}\n\n'
        f'{table(seconds, args.preset)}'
    )


if __name__ == '__main__':
    main()
