"""Time classical detectors, and other codes of the same methods beside them, by CPU time in turn.

``benchmark_classical.py image.png --methods top_hat ipi --against ipi='octave-cli ipi.m {image}'``

A command of ``--against`` stands for another code of a method: it reads the image at ``{image}`` and prints the CPU
seconds of the method alone as its last line, so that its start does not count. Every round runs all contenders once.
The fastest round counts. Prints a Markdown table with ratios.
"""

import argparse
import shlex
import subprocess
import time
from pathlib import Path

import cv2
import numpy as np
import torch

from mmirstd.io.tables import markdown_rows
from mmirstd.models.classical import DETECTORS


def own_seconds(method: str, images: np.ndarray) -> float:
    """CPU seconds of a function of this package."""
    before = time.process_time()
    DETECTORS[method](images)
    return time.process_time() - before


def other_seconds(command: str, image: Path) -> float:
    """CPU seconds that a command prints.

    Raises:
        RuntimeError: If it fails.
    """
    words = [word.replace('{image}', str(image)) for word in shlex.split(command)]
    done = subprocess.run(words, capture_output=True, text=True)
    lines = done.stdout.split('\n')
    try:
        return float(next(line for line in reversed(lines) if line.strip()))
    except (StopIteration, ValueError):
        raise RuntimeError(f'{command}: its last line is no number of seconds: {done.stderr[-500:]}') from None


def main() -> None:
    """Time, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n', 1)[0])
    parser.add_argument('image', type=Path, help='gray image, or .npy with the frames of a sequence (T, H, W)')
    parser.add_argument(
        '--methods', nargs='+', choices=list(DETECTORS), default=[m for m in DETECTORS if m != 'mslstipt']
    )
    parser.add_argument('--against', nargs='+', default=[], metavar='METHOD=COMMAND')
    parser.add_argument('--rounds', type=int, default=3)
    args = parser.parse_args()
    against = dict(text.split('=', 1) for text in args.against)
    if unknown := sorted(against.keys() - set(args.methods)):
        parser.error(f'--against {unknown[0]}: it is none of the methods that are timed')
    is_sequence = args.image.suffix == '.npy'
    images = (
        np.load(args.image, allow_pickle=False) if is_sequence else cv2.imread(str(args.image), cv2.IMREAD_GRAYSCALE)
    )
    if images is None:
        parser.error(f'{args.image}: cannot be read as an image')
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    best: dict[tuple[str, bool], float] = {}
    for _ in range(args.rounds):
        for method in args.methods:
            best[method, True] = min(best.get((method, True), np.inf), own_seconds(method, images))
            if method in against:
                best[method, False] = min(best.get((method, False), np.inf), other_seconds(against[method], args.image))
    rows = []
    for method in args.methods:
        own, other = best[method, True], best.get((method, False))
        row = {'method': f'`{method}`', 'CPU s': f'{own:.4f}', 'other code, CPU s': '-', 'other / own': '-'}
        rows.append(
            row if other is None else row | {'other code, CPU s': f'{other:.3f}', 'other / own': f'{other / own:.1f}'}
        )
    print(f'{" x ".join(map(str, images.shape))}, {args.rounds} rounds\n\n{markdown_rows(rows)}')


if __name__ == '__main__':
    main()
