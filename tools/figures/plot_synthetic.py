"""Put synthetic scenes beside real infrared images, in a picture and in a table of statistics.

The real images are read from ``--data-root``, a folder with NUDT-SIRST, NUAA-SIRST and IRSTD-1k in it; all of them are
drawn at random from ``--seed``, none is picked. Writes the picture to ``--out`` and prints the table as Markdown.
"""

import argparse
import math
from pathlib import Path

import cv2
import numpy as np
from matplotlib.figure import Figure

from mmirstd.datasets import IRSTD1kDataset, NUAASIRSTDataset, NUDTSIRSTDataset, SyntheticIRSTDDataset
from mmirstd.datasets.transforms import LoadIRImage, LoadTargetMask
from mmirstd.io.files import figure_pixels, refuse_overwriting, write_png
from mmirstd.ops.components import label_components
from mmirstd.ops.target_statistics import signal_to_clutter
from mmirstd.ops.target_statistics import target_statistics as measure
from mmirstd.synthesis.targets import FRAME
from mmirstd.utils.progress import progress_bar

REAL = {'NUDT-SIRST': NUDTSIRSTDataset, 'NUAA-SIRST': NUAASIRSTDataset, 'IRSTD-1k': IRSTD1kDataset}


def target_statistics(image: np.ndarray, mask: np.ndarray) -> list[tuple[int, float, float]]:
    """Area, contrast and signal-to-clutter ratio of every target of (H, W), measured as ``render_scene`` defines it."""
    found = measure(image, mask, width=FRAME, gap=2)
    # 1/12 is the variance of rounding: flat surroundings would give an infinite ratio.
    ratio = signal_to_clutter(found.contrast, np.hypot(found.clutter, 12**-0.5))
    rows = zip(found.area.tolist(), found.contrast.tolist(), ratio.tolist(), strict=True)
    return [row for row in rows if not math.isnan(row[1])]


def top_hat_iou(pairs: list[tuple[np.ndarray, np.ndarray]]) -> float:
    """Best IoU over a white top-hat's size and one threshold, both chosen on the images they are judged on."""
    best = 0.0
    for size in (5, 7, 9, 11, 15):
        element = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size))
        hits, total = np.zeros(256), np.zeros(256)
        for image, mask in pairs:
            response = cv2.morphologyEx(image, cv2.MORPH_TOPHAT, element)
            total += np.bincount(response.ravel(), minlength=256)
            hits += np.bincount(response[mask > 0], minlength=256)
        above, correct = total[::-1].cumsum(), hits[::-1].cumsum()
        best = max(best, float((correct / (hits.sum() + above - correct)).max()))
    return best


def table_row(name: str, pairs: list[tuple[np.ndarray, np.ndarray]]) -> str:
    """One row of the table."""

    def spread(values: list[float], digits: int = 0) -> str:
        low, mid, high = np.percentile(values, [10, 50, 90])
        return f'{mid:.{digits}f} ({low:.{digits}f}-{high:.{digits}f})'

    targets = [target_statistics(*pair) for pair in pairs]
    counts = np.bincount([len(t) for t in targets], minlength=4) / len(pairs)
    area, contrast, ratio = zip(*(t for ts in targets for t in ts), strict=True)
    columns = [
        name,
        str(len(pairs)),
        spread([image.mean() for image, _ in pairs]),
        spread([image.std() for image, _ in pairs]),
        ' / '.join(f'{100 * c:.0f}' for c in (*counts[:3], counts[3:].sum())),
        spread(area),
        spread(contrast),
        spread(ratio, 1),
        f'{top_hat_iou(pairs[:200]):.3f}',
    ]
    return f'| {" | ".join(columns)} |'


HEAD = (
    '| images | number | mean | std | % with 0 / 1 / 2 / 3+ targets | area, pixels | contrast, levels | SCR '
    '| top-hat IoU |\n|---|---|---|---|---|---|---|---|---|'
)


def square(image: np.ndarray, side: int = 256) -> np.ndarray:
    """The middle square of an image, resized."""
    h, w = image.shape
    n = min(h, w)
    middle = image[(h - n) // 2 : (h + n) // 2, (w - n) // 2 : (w + n) // 2]
    return cv2.resize(middle, (side, side), interpolation=cv2.INTER_AREA if n > side else cv2.INTER_LINEAR)


def target_crops(pairs: list[tuple[np.ndarray, np.ndarray]], number: int, radius: int = 12) -> list[np.ndarray]:
    """Windows around the first target of each image, stretched to the whole gray range."""
    crops = []
    for image, mask in pairs:
        if len(crops) == number:
            break
        for y, x in label_components(mask == 1).centroid.round().astype(int)[:1]:
            window = np.pad(image, radius, mode='edge')[y : y + 2 * radius + 1, x : x + 2 * radius + 1].astype(float)
            crops.append(np.uint8((window - window.min()) / max(np.ptp(window), 1) * 255))
    return crops


def draw(real: dict[str, list], synthetic: list, out: Path, columns: int = 9) -> None:
    """Two rows of real images over two of synthetic ones, then a row of magnified targets of each."""
    share = 2 * columns // len(real)
    shown = [(name, pair) for name, pairs in real.items() for pair in pairs[:share]]
    # A row of both halves holds all sets.
    shown = [shown[i * share + j] for half in range(2) for i in range(len(real)) for j in range(half, share, 2)]
    rows = [
        [(name, square(image)) for name, (image, _) in shown],
        [('synthetic', square(image)) for image, _ in synthetic[: 2 * columns]],
    ]
    mixed = [pair for _, pair in shown]
    crops = (
        [('real', c) for c in target_crops(mixed, 2 * columns)],
        [('synthetic', c) for c in target_crops(synthetic, 2 * columns)],
    )
    figure = Figure(figsize=(columns * 1.1, columns * 0.58), dpi=140)
    box = {'left': 0.022, 'right': 0.999, 'bottom': 0.001, 'top': 0.999}
    grid = figure.add_gridspec(6, 1, height_ratios=(1, 1, 0.5, 1, 1, 0.5), hspace=0.03, **box)
    for group, (tiles, windows) in enumerate(zip(rows, crops, strict=True)):
        strips = [tiles[:columns], tiles[columns:], windows]
        for k, strip in enumerate(strips):
            cells = grid[3 * group + k].subgridspec(1, columns * (2 if k == 2 else 1), wspace=0.02)
            for c, (name, image) in enumerate(strip):
                axis = figure.add_subplot(cells[c])
                axis.imshow(image, cmap='gray', vmin=0, vmax=255, interpolation='nearest' if k == 2 else 'antialiased')
                axis.set(xticks=[], yticks=[])
                if k < 2:
                    axis.text(0.02, 0.02, name, color='w', fontsize=5, transform=axis.transAxes, va='bottom', alpha=0.9)
    for y, label in ((0.75, 'real'), (0.25, 'synthetic')):
        figure.text(0.008, y, label, rotation=90, va='center', ha='center', fontsize=9)
    write_png(out, figure_pixels(figure), 'rgb')


def load(dataset: object, indices: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """Images and masks of some samples."""
    samples = (dataset[int(i)] for i in progress_bar(list(indices)))
    return [(np.squeeze(sample['img']), sample['gt_seg_map']) for sample in samples]


def main() -> None:
    """Draw the picture and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--data-root', type=Path, default=Path('data'), help='holds ' + ', '.join(REAL))
    parser.add_argument('--out', type=Path, default=Path('docs/pictures/synthetic_vs_real.png'))
    parser.add_argument('--seed', type=int, default=0, help='of the choice of real images and of the scenes')
    parser.add_argument('--num', type=int, default=1000, help='images per dataset at most, for the table')
    parser.add_argument('--overwrite', action='store_true', help='replace the picture if it exists')
    args = parser.parse_args()
    refuse_overwriting(args.out, args.overwrite)
    rng = np.random.default_rng(args.seed)
    real, load_pair = {}, [LoadIRImage(channels=1), LoadTargetMask()]
    for name, dataset_type in REAL.items():
        dataset = dataset_type(data_root=str(args.data_root / name), pipeline=load_pair, test_mode=True)
        real[name] = load(dataset, rng.permutation(len(dataset))[: args.num])
    scenes = SyntheticIRSTDDataset(args.num, part='test', seed=args.seed, pipeline=load_pair, test_mode=True)
    synthetic = load(scenes, np.arange(args.num))
    draw(real, synthetic, args.out)
    print(f'\n{args.out}\n\n{HEAD}')
    for name, pairs in {**real, 'synthetic': synthetic}.items():
        print(table_row(name, pairs), flush=True)


if __name__ == '__main__':
    main()
