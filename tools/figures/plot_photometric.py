"""Show each effect of ``InfraredPhotometric`` and measure what it leaves of the targets of the public sets.

Draws synthetic scenes with every effect at both ends of its default range and with random draws of all of them, to
``--out``. With ``--data-root``, a folder with NUAA-SIRST, NUDT-SIRST and IRSTD-1k, prints as Markdown how much contrast
and signal-to-clutter ratio their targets keep.
"""

import argparse
import math
import sys
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mmirstd.datasets import IRSTD1kDataset, NUAASIRSTDataset, NUDTSIRSTDataset
from mmirstd.datasets.transforms import InfraredPhotometric, LoadIRImage, LoadTargetMask
from mmirstd.io.files import figure_pixels, refuse_overwriting, write_png
from mmirstd.ops.target_statistics import target_statistics
from mmirstd.synthesis.scenes import render_scene
from mmirstd.utils.progress import progress_bar
from mmirstd.utils.random_state import seed_generators

SETS = {'NUAA-SIRST': NUAASIRSTDataset, 'NUDT-SIRST': NUDTSIRSTDataset, 'IRSTD-1k': IRSTD1kDataset}
DEFAULTS = InfraredPhotometric().ranges
OFF = dict.fromkeys(DEFAULTS)
# Off by default; shown all the same.
SHOWN = {**{name: bounds for name, bounds in DEFAULTS.items() if bounds}, 'bad_pixels': (0.0, 0.002)}
QUANTILES = (0.01, 0.1, 0.5)


def ends() -> list[tuple[str, float]]:
    """Each effect at the ends of its range at which it does something."""
    return [
        (name, value)
        for name, bounds in SHOWN.items()
        for value in bounds
        if value > 0 or name in ('offset', 'vignetting')
    ]


def alone(name: str, value: float) -> InfraredPhotometric:
    """One effect at one strength."""
    return InfraredPhotometric(prob=1.0, **OFF | {name: (value, value)})


def apply(transform: InfraredPhotometric, image: np.ndarray, mask: np.ndarray, *key: int) -> np.ndarray:
    """The image (H, W, 1) after a transform whose draws are seeded by ``key``."""
    seed_generators(*key)
    return transform({'img': image, 'gt_seg_map': mask})['img']


def scene(seed: int, size: int = 128) -> tuple[np.ndarray, np.ndarray]:
    """A synthetic scene (H, W, 1) with one target, and its mask: the first such from ``seed`` on."""
    while True:
        image, mask, info = render_scene(seed, (size, size))
        if len(info['targets']) == 1:
            return image[..., None], mask
        seed += 1


def show(axis: Axes, title: str, image: np.ndarray, mask: np.ndarray, radius: int = 8) -> None:
    """Draw an image with its target magnified in the corner that is farther from it."""
    axis.imshow(image[..., 0], cmap='gray', vmin=0, vmax=255, interpolation='nearest')
    axis.set_title(title, fontsize=7, pad=2)
    axis.set(xticks=[], yticks=[])
    axis.set_axis_on()
    y, x = np.argwhere(mask == 1).mean(0).round().astype(int)
    window = np.pad(image[..., 0], radius, mode='edge')[y : y + 2 * radius + 1, x : x + 2 * radius + 1]
    inset = axis.inset_axes((0, 0 if y < len(mask) / 2 else 0.58, 0.42, 0.42))
    inset.imshow(window, cmap='gray', vmin=0, vmax=255, interpolation='nearest')
    inset.set(xticks=[], yticks=[])
    inset.spines[:].set(color='C1', linewidth=1.2)


def draw(seed: int) -> np.ndarray:
    """(H, W, 3) RGB: each effect at both ends of its range on one scene, random draws of all on two others."""
    image, mask = scene(seed)
    cells = [('as rendered', image, mask), ('inverted', 255 - image, mask)]
    for name, value in ends():
        cells.append((f'{name} {value:g}', apply(alone(name, value), image, mask, seed), mask))
    columns = math.ceil(len(cells) / 2)
    rows = [cells[:columns], cells[columns:]]
    for number in (1, 2):
        image, mask = scene(seed + 100 * number)
        drawn = [apply(InfraredPhotometric(), image, mask, seed, i) for i in range(columns - 1)]
        rows.append([('as rendered', image, mask), *(('drawn', shown, mask) for shown in drawn)])
    figure = Figure(figsize=(columns * 1.6, 7.1), dpi=90, layout='constrained')
    axes = figure.subplots(4, columns)
    figure.get_layout_engine().set(w_pad=0.01, h_pad=0.01, wspace=0, hspace=0)
    for axis in axes.flat:
        axis.set_axis_off()
    for row, cells in zip(axes, rows, strict=True):
        for axis, cell in zip(row, cells, strict=False):
            show(axis, *cell)
    return figure_pixels(figure)


def measure(name: str, root: Path, seed: int, number: int) -> list[str]:
    """Rows of the table for one dataset, over ``number`` random images: effects one by one at their ends, then all."""
    dataset = SETS[name](
        data_root=str(root / name), pipeline=[LoadIRImage(channels=1), LoadTargetMask()], test_mode=True
    )
    dataset.full_init()
    chosen = np.random.default_rng(seed).permutation(len(dataset))[:number].tolist()
    transforms = {f'{key} {value:g}': alone(key, value) for key, value in ends()}
    transforms |= {'drawn, prob 0.5': InfraredPhotometric(), 'drawn, prob 1': InfraredPhotometric(prob=1.0)}
    kept: dict[str, list[tuple[float, float]]] = {key: [] for key in transforms}
    left_out = 0
    for i in progress_bar(chosen):
        sample = dataset[i]
        image, mask = sample['img'], sample['gt_seg_map']
        before = target_statistics(image, mask)
        for key, transform in transforms.items():
            shown = apply(transform, image, mask, seed, i)
            after = target_statistics(shown, mask)
            kept[key] += zip(np.abs(after.contrast / before.contrast), after.scr / before.scr, strict=True)
        free = InfraredPhotometric(prob=1.0, min_contrast=0.0)
        left_out += not np.array_equal(shown, apply(free, image, mask, seed, i))
    rows = []
    for key, pairs in kept.items():
        contrast, scr = (' / '.join(f'{q:.2f}' for q in np.nanquantile(v, QUANTILES)) for v in zip(*pairs, strict=True))
        rows.append(f'| {name} | {key} | {contrast} | {scr} |')
    print(file=sys.stderr)
    print(f'{name}: of {len(chosen)} images, {left_out} keep their levels at prob 1, for a target would go')
    return rows


def main() -> None:
    """Draw the picture and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--out', type=Path, required=True, help='PNG to write')
    parser.add_argument('--overwrite', action='store_true', help='replace the file if it exists')
    parser.add_argument('--data-root', type=Path, help='holds ' + ', '.join(SETS) + '; without it, no table')
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--num', type=int, default=200, help='images per dataset, at random (default: 200)')
    args = parser.parse_args()
    refuse_overwriting(args.out, args.overwrite)
    write_png(args.out, draw(args.seed), 'rgb')
    print(args.out)
    if args.data_root:
        rows = [row for name in SETS for row in measure(name, args.data_root, args.seed, args.num)]
        words = ' / '.join(f'{100 * q:g} %' for q in QUANTILES)
        print(f'\n| images | effect | contrast kept: {words} | SCR kept: {words} |\n|---|---|---|---|')
        print('\n'.join(rows))


if __name__ == '__main__':
    main()
