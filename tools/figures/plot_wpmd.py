"""Show what WPMD does to real images, and measure noise, edges and targets before and after.

Writes ``wpmd_step.png`` (a noisy edge in one dimension) and, with ``--data-root``, a folder with NUAA-SIRST, NUDT-SIRST
and IRSTD-1k, ``wpmd_clutter.png`` (images before and after, the target magnified) to ``--out-dir``. ``--num N`` prints
as Markdown what N random images of each set keep, ``--time`` what a 256 x 256 image costs on one core.
"""

import argparse
import io
import sys
import timeit
from pathlib import Path

import matplotlib
import numpy as np
import torch
from PIL import Image
from scipy import ndimage, optimize

from mmirstd.datasets import IRSTD1kDataset, NUAASIRSTDataset, NUDTSIRSTDataset
from mmirstd.datasets.transforms import WPMD, LoadIRImage, LoadTargetMask
from mmirstd.io.files import refuse_overwriting, write_atomically
from mmirstd.models.layers import wavelet_diffusion
from mmirstd.ops.components import label_components
from mmirstd.ops.target_statistics import noise_level, target_statistics
from mmirstd.utils.progress import progress_bar

matplotlib.use('Agg')
from matplotlib import pyplot as plt

SETS = {'NUAA-SIRST': NUAASIRSTDataset, 'NUDT-SIRST': NUDTSIRSTDataset, 'IRSTD-1k': IRSTD1kDataset}
SHOWN = ('NUAA-SIRST:Misc_23', 'NUAA-SIRST:Misc_28', 'NUDT-SIRST:001304', 'IRSTD-1k:XDU309')
FORMS = {
    'default': {},
    'k=1': {'k': 1.0},
    'k=4': {'k': 4.0},
    'k=8 levels': {'k': 8.0, 'k_unit': 'level'},
    '20 steps': {'num_steps': 20},
    '2 levels': {'levels': 2},
    'uncoupled': {'coupled': False},
    'decimated': {'decimated': True},
    'db2': {'wavelet': 'db2'},
    'linear': {'wavelet': 'linear'},
}
ONLY_TIMED = {'default, k_unit level': {'k_unit': 'level'}, '3 levels': {'levels': 3}, 'cubic': {'wavelet': 'cubic'}}


def slope(image: np.ndarray) -> np.ndarray:
    """Norm of the first differences of (H, W) at the centers of 2 x 2 pixels."""
    a, b, c, d = image[:-1, :-1], image[:-1, 1:], image[1:, :-1], image[1:, 1:]
    return np.hypot(b - a + d - c, c - a + d - b) / 2


def edge_sharpness(before: np.ndarray, after: np.ndarray) -> float:
    """Slope that is left, on average, where the first image has its steepest hundredth."""
    old = slope(before)
    edges = (old >= np.quantile(old, 0.99)) & (old > 0)
    return float(slope(after)[edges].mean() / old[edges].mean()) if edges.any() else float('nan')


def equal_gaussian(image: np.ndarray, noise: float) -> np.ndarray:
    """Smooth (H, W) by the Gaussian that leaves as much noise, by the same estimate."""

    def left(sigma: float) -> float:
        return noise_level(ndimage.gaussian_filter(image, sigma)) - noise

    if left(0.1) <= 0:
        return image
    return ndimage.gaussian_filter(image, 8.0 if left(8.0) > 0 else optimize.brentq(left, 0.1, 8.0, xtol=0.01))


def load(name: str, root: Path) -> torch.utils.data.Dataset:
    """All images of a set as floating (H, W, 1), with masks."""
    pipeline = [LoadIRImage(channels=1, dtype='float32'), LoadTargetMask()]
    dataset = SETS[name](data_root=str(root / name), pipeline=pipeline, test_mode=True)
    dataset.full_init()
    return dataset


def diffused(transform: WPMD, image: np.ndarray) -> np.ndarray:
    """(H, W) levels after the transform of the 8-bit image, before rounding, so that small noise can be measured."""
    return transform.diffuse(np.rint(image).astype(np.uint8)[..., None])[..., 0].astype(np.float64)


def step_picture(seed: int) -> bytes:
    """A PNG: a step of 60 levels with noise of 5, after diffusion and after the Gaussian of equal noise reduction."""
    signal = np.where(np.arange(96) < 48, 80.0, 140.0)
    noise = np.random.default_rng(seed).normal(0, 5, signal.shape)
    noisy = torch.from_numpy(signal + noise)[None]
    k, steps, dt = 10.0, 40, 0.5
    stationary = wavelet_diffusion(noisy, k, steps, dt)[0].numpy()
    decimated = wavelet_diffusion(noisy, k, steps, dt, decimated=True)[0].numpy()
    left = (stationary - signal).std()
    sigma = optimize.brentq(lambda s: ndimage.gaussian_filter(noise, s).std() - left, 0.2, 9)
    curves = {
        f'stationary: noise {left:.1f}, jump {stationary[48] - stationary[47]:.0f}': stationary,
        f'decimated: noise {(decimated - signal).std():.1f}, jump {decimated[48] - decimated[47]:.0f}': decimated,
    }
    gaussian = ndimage.gaussian_filter(signal + noise, sigma)
    curves[f'Gaussian, sigma {sigma:.1f}: jump {gaussian[48] - gaussian[47]:.0f}'] = gaussian
    figure, axes = plt.subplots(1, 3, figsize=(11, 2.8), sharey=True, layout='constrained')
    for axis, (title, curve) in zip(axes, curves.items(), strict=True):
        axis.plot(noisy[0], color='0.7', linewidth=0.8)
        axis.plot(curve, color='C0', linewidth=1.5)
        axis.set_title(title, fontsize=9)
        axis.grid(alpha=0.3)
    return to_png(figure)


def clutter_picture(shown: list[str], root: Path, transform: WPMD, size: int) -> bytes:
    """A PNG: each image before, diffused, what was removed, and smoothed by the Gaussian that leaves as much noise."""
    figure, axes = plt.subplots(len(shown), 4, figsize=(10, 2.75 * len(shown)), squeeze=False, layout='constrained')
    figure.get_layout_engine().set(w_pad=0.02, h_pad=0.02, wspace=0, hspace=0.01)
    for row, key in zip(axes, shown, strict=True):
        name, _, img_id = key.partition(':')
        dataset = load(name, root)
        if img_id not in dataset.img_ids:
            raise SystemExit(f'{name} has no image {img_id!r}')
        sample = dataset[dataset.img_ids.index(img_id)]
        image, mask = sample['img'][..., 0].astype(np.float64), sample['gt_seg_map']
        after = diffused(transform, image)
        gaussian = equal_gaussian(image, noise_level(after))
        contrast = [target_statistics(v[..., None], mask).contrast[0] for v in (image, after, gaussian)]
        titles = (
            f'{name} {img_id}: noise {noise_level(image):.2f}, contrast {contrast[0]:.0f}',
            f'WPMD: noise {noise_level(after):.2f}, contrast {contrast[1]:.0f}, '
            f'edges {edge_sharpness(image, after):.2f}',
            f'removed, times {(gain := 100 / max(np.abs(image - after).max(), 1)):.0f}',
            f'Gaussian: noise {noise_level(gaussian):.2f}, contrast {contrast[2]:.0f}, '
            f'edges {edge_sharpness(image, gaussian):.2f}',
        )
        views = (image, after, 128 + gain * (image - after), gaussian)
        center = label_components(mask == 1).centroid[0].round().astype(int)
        window = around(image, center)
        for axis, title, view in zip(row, titles, views, strict=True):
            levels = (0, 255) if title.startswith('removed') else (window.min(), window.max())
            show(axis, title, view, center, size, levels)
    return to_png(figure)


def around(image: np.ndarray, center: np.ndarray, radius: int = 10) -> np.ndarray:
    """A window of an image, continued at the border."""
    y, x = center
    return np.pad(image, radius, mode='edge')[y : y + 2 * radius + 1, x : x + 2 * radius + 1]


def show(
    axis: plt.Axes, title: str, image: np.ndarray, center: np.ndarray, size: int, levels: tuple[float, float]
) -> None:
    """Draw the part of an image around a target, which is magnified in a corner that it is not in."""
    origin = [int(np.clip(c - size // 2, 0, max(n - size, 0))) for c, n in zip(center, image.shape, strict=True)]
    part = image[origin[0] : origin[0] + size, origin[1] : origin[1] + size]
    axis.imshow(part, cmap='gray', vmin=0, vmax=255, interpolation='nearest')
    axis.set_title(title, fontsize=7, pad=2)
    axis.set(xticks=[], yticks=[])
    low = center[0] - origin[0] < part.shape[0] / 2
    inset = axis.inset_axes((0, 0 if low else 0.58, 0.42, 0.42))
    inset.imshow(around(image, center), cmap='gray', vmin=levels[0], vmax=levels[1], interpolation='nearest')
    inset.set(xticks=[], yticks=[])
    inset.spines[:].set(color='C1', linewidth=1.2)


def to_png(figure: plt.Figure) -> bytes:
    """The figure in 128 colors: half the bytes, and no difference to see."""
    content = io.BytesIO()
    figure.savefig(content, format='png', dpi=100)
    plt.close(figure)
    small = io.BytesIO()
    Image.open(content).convert('RGB').quantize(128, dither=Image.Dither.NONE).save(small, 'PNG', optimize=True)
    return small.getvalue()


def measure(name: str, root: Path, seed: int, number: int) -> list[str]:
    """Rows of the table for one set: medians over images, and quantiles of what its targets keep."""
    dataset = load(name, root)
    chosen = np.random.default_rng(seed).permutation(len(dataset))[:number].tolist()
    transforms = {key: WPMD(**form) for key, form in FORMS.items()}
    # Finding the Gaussian takes many times as long as the diffusion.
    compared = {'default', '20 steps', 'k=4'}
    per_image: dict[str, list[tuple[float, float, float]]] = {key: [] for key in transforms}
    per_target: dict[str, list[tuple[float, float, float]]] = {key: [] for key in transforms}
    for i in progress_bar(chosen):
        sample = dataset[i]
        image, mask = sample['img'][..., 0].astype(np.float64), sample['gt_seg_map']
        before = target_statistics(image[..., None], mask)
        for key, transform in transforms.items():
            after = diffused(transform, image)
            noise = noise_level(after)
            with np.errstate(invalid='ignore', divide='ignore'):
                left = np.divide(noise, noise_level(image))
                gaussian = edge_sharpness(image, equal_gaussian(image, noise)) if key in compared else np.nan
                per_image[key].append((left, edge_sharpness(image, after), gaussian))
                now = target_statistics(after[..., None], mask)
                per_target[key] += zip(
                    np.abs(now.contrast / before.contrast),
                    now.clutter / before.clutter,
                    now.scr / before.scr,
                    strict=True,
                )
    print(file=sys.stderr)
    rows = []
    for key in transforms:
        noise, edges, gaussian = (
            f'{np.nanmedian(column):.2f}' if np.isfinite(column).any() else '' for column in np.array(per_image[key]).T
        )
        kept = (
            ' / '.join(f'{q:.2f}' for q in np.nanquantile(values[np.isfinite(values)], (0.01, 0.1, 0.5)))
            for values in np.array(per_target[key]).T
        )
        rows.append(f'| {name} | {key} | {noise} | {edges} | {gaussian} | {" | ".join(kept)} |')
    return rows


def timings(seed: int, repeats: int = 20) -> list[str]:
    """Rows of milliseconds per 256 x 256 uint8 image of one channel, the fastest of `repeats`, on one thread."""
    torch.set_num_threads(1)
    image = np.random.default_rng(seed).normal(100, 10, (256, 256, 1)).clip(0, 255).astype(np.uint8)
    rows = []
    for key, form in {**FORMS, **ONLY_TIMED}.items():
        transform = WPMD(**form)
        best = min(timeit.repeat(lambda t=transform: t({'img': image}), number=1, repeat=repeats))
        rows.append(f'| {key} | {1000 * best:.1f} |')
    return rows


def main() -> None:
    """Draw the pictures and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--out-dir', type=Path, help='where the pictures go; without it, none are drawn')
    parser.add_argument('--data-root', type=Path, help='holds ' + ', '.join(SETS))
    parser.add_argument('--images', nargs='+', default=SHOWN, metavar='SET:ID', help='to draw (default: %(default)s)')
    parser.add_argument('--size', type=int, default=160, help='pixels of an image around its target to draw')
    parser.add_argument('--k', type=float, default=2.0)
    parser.add_argument('--num-steps', type=int, default=5)
    parser.add_argument('--num', type=int, default=0, help='images per set to measure, at random')
    parser.add_argument('--time', action='store_true', help='measure milliseconds per image')
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--overwrite', action='store_true', help='replace pictures that exist')
    args = parser.parse_args()
    if (args.num or args.out_dir is None) and args.data_root is None and not args.time:
        parser.error('nothing to do: give --out-dir, --num with --data-root, or --time')
    if args.out_dir:
        args.out_dir.mkdir(parents=True, exist_ok=True)
        names = ['wpmd_step.png', *(['wpmd_clutter.png'] if args.data_root else [])]
        refuse_overwriting([args.out_dir / name for name in names], args.overwrite)
        pictures = {'wpmd_step.png': step_picture(args.seed)}
        if args.data_root:
            transform = WPMD(k=args.k, num_steps=args.num_steps)
            pictures['wpmd_clutter.png'] = clutter_picture(list(args.images), args.data_root, transform, args.size)
        for name, content in pictures.items():
            write_atomically(args.out_dir / name, content)
            print(args.out_dir / name)
    if args.num:
        rows = [row for name in SETS for row in measure(name, args.data_root, args.seed, args.num)]
        print('\n| images | WPMD | noise | edges | edges, Gaussian | contrast | clutter | SCR |')
        print('\n'.join(['|---|---|---|---|---|---|---|---|', *rows]))
    if args.time:
        print('\n'.join(['\n| WPMD | ms |', '|---|---|', *timings(args.seed)]))


if __name__ == '__main__':
    main()
