"""Find targets with an exported model: onnxruntime, numpy and Pillow, nothing else.

    mmirstd export --out model.onnx
    python onnx_consumer.py model.onnx IMAGE... --out targets.csv

The table is that of ``mmirstd infer``: centroid, box (half open), area, mean and highest probability, local contrast
and signal-to-clutter ratio of each target. Images are gray, of 8 or 16 bits, or color of 8 bits. Colors of 16 bits are
refused: Pillow reads the upper 8 alone.
"""

import argparse
import csv
import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime
from PIL import Image

COLUMNS = ('image', 'row', 'col', 'top', 'left', 'bottom', 'right', 'area', 'score', 'peak', 'contrast', 'scr')
SURROUNDINGS = 20  # pixels around a box, for contrast and signal-to-clutter ratio


class OnnxDetector:
    """An exported model. ``threshold`` replaces the one in the file."""

    def __init__(self, path: str, threshold: float | None = None) -> None:
        try:
            self.session = onnxruntime.InferenceSession(str(path), providers=['CPUExecutionProvider'])
        except Exception as error:  # onnxruntime's errors have no common class
            raise SystemExit(f'{path}: onnxruntime cannot read it: {error}') from None
        stored = self.session.get_modelmeta().custom_metadata_map.get('mmirstd')
        if stored is None:
            raise SystemExit(f'{path}: not written by `mmirstd export`')
        self.about = json.loads(stored)
        self.threshold = self.about['threshold'] if threshold is None else threshold

    def probability(self, image: np.ndarray) -> np.ndarray:
        """Target probabilities (H, W) of an image (H, W) or (H, W, 3) of levels from 0 to 255."""
        wanted = self.about['input']
        planes = image[None] if image.ndim == 2 else image.transpose(2, 0, 1)
        if wanted['channels'] == 3:
            planes = np.broadcast_to(planes, (3, *planes.shape[1:]))
        elif len(planes) == 3:
            planes = gray(image)[None]
        batch = np.ascontiguousarray(planes[None]).astype(wanted['dtype'])
        (found,) = self.session.run([self.about['output']['name']], {wanted['name']: batch})
        return found[0, 0]

    def targets(self, image: np.ndarray) -> list[dict[str, float]]:
        """A dict of :data:`COLUMNS`, but for the name, of each target."""
        probability = self.probability(image)
        mask = probability > self.threshold
        levels = image.astype(np.float64)
        levels = levels if image.ndim == 2 else levels @ (0.299, 0.587, 0.114)
        return [describe(pixels, probability, mask, levels) for pixels in components(mask)]


def read_image(path: str, levels: dict) -> np.ndarray:
    """Read (H, W) or (H, W, 3), uint8; what has more than 8 bits is stretched from its lowest to its highest level."""
    with Image.open(path) as file:
        if is_deep_color(path, file):
            raise ValueError(f'{path}: colors of more than 8 bits, of which Pillow reads the upper 8 alone')
        if file.mode in ('P', '1', 'CMYK', 'LA', 'RGBA'):
            file = file.convert('L' if file.mode in ('1', 'LA') else 'RGB')
        image = np.asarray(file)
    if image.dtype == np.uint8 and not levels['normalize_8bit']:
        return image
    if levels['normalize'] != 'range':
        raise SystemExit(f'{path}: this example stretches images by their range, not by {levels["normalize"]}')
    low, high = float(image.min()), float(image.max())
    scale = 255 * np.clip((image.astype(np.float64) - low) / ((high - low) or 1), 0, 1)
    return np.rint(scale.astype(np.float32)).astype(np.uint8)


def is_deep_color(path: str, file: Image.Image) -> bool:
    """Whether an image has more than one channel, of more than 8 bits each: Pillow calls that plain RGB or RGBA."""
    if file.format == 'PNG':
        with open(path, 'rb') as content:
            bits, color_type = content.read(26)[24:]  # of the header, which comes first
        return bits == 16 and color_type != 0
    if file.format == 'TIFF':
        bits = file.tag_v2.get(258, (1,))  # BitsPerSample
        return len(bits) > 1 and max(bits) > 8
    return False


def gray(image: np.ndarray) -> np.ndarray:
    """Gray levels (H, W) by ITU-R BT.601, uint8."""
    if image.ndim == 2:
        return image
    red, green, blue = image.astype(np.int32).transpose(2, 0, 1)
    return ((9798 * red + 19235 * green + 3735 * blue + 2**14) >> 15).astype(np.uint8)


def components(mask: np.ndarray) -> list[np.ndarray]:
    """Pixels (N, 2) of each group of neighbors, eight to a pixel, ordered by its first pixel."""
    left = {(int(row), int(col)): None for row, col in np.argwhere(mask)}  # in raster order
    found = []
    while left:
        stack = [next(iter(left))]
        del left[stack[0]]
        pixels = []
        while stack:
            row, col = stack.pop()
            pixels.append((row, col))
            for near in [(row + i, col + j) for i in (-1, 0, 1) for j in (-1, 0, 1)]:
                if near in left:
                    del left[near]
                    stack.append(near)
        found.append(np.array(sorted(pixels)))
    return found


def describe(
    pixels: np.ndarray, probability: np.ndarray, mask: np.ndarray, levels: np.ndarray
) -> dict[str, float | str]:
    """What the table has of a target; nan where there is no value."""
    rows, cols = pixels.T
    (top, left), (bottom, right) = pixels.min(0), pixels.max(0) + 1
    window = (
        slice(max(0, top - SURROUNDINGS), bottom + SURROUNDINGS),
        slice(max(0, left - SURROUNDINGS), right + SURROUNDINGS),
    )
    around = levels[window][~mask[window]]
    contrast = clutter = float('nan')
    if around.size:
        contrast = levels[rows, cols].mean() - around.mean()
        clutter = around.std() if np.ptp(around) else 0.0
    with np.errstate(divide='ignore', invalid='ignore'):
        scr = np.float64(abs(contrast)) / clutter
    values = probability[rows, cols].astype(np.float64)
    numbers = (rows.mean(), cols.mean(), top, left, bottom, right, len(pixels), values.mean(), values.max())
    return dict(zip(COLUMNS[1:], map(plain, (*numbers, contrast, scr)), strict=True))


def plain(value: float) -> float | str:
    """A Python number; empty for nan."""
    return '' if value != value else getattr(value, 'item', lambda: value)()


def main() -> None:
    """Write the table of targets of some images."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('model', help='file that `mmirstd export` wrote')
    parser.add_argument('images', nargs='+')
    parser.add_argument('--out', help='CSV file; default: standard output')
    parser.add_argument('--threshold', type=float, help='default: that of the file')
    args = parser.parse_args()
    detector = OnnxDetector(args.model, args.threshold)
    rows, failed = [], False
    for path in args.images:
        try:
            targets = detector.targets(read_image(path, detector.about['levels']))
        except Exception as error:  # one image less; onnxruntime's errors have no common class
            print(error if str(error).startswith(f'{path}: ') else f'{path}: {error}', file=sys.stderr)
            failed = True
            continue
        rows += [{'image': Path(path).stem, **target} for target in targets]
    with open(args.out, 'w', newline='', encoding='utf-8') if args.out else sys.stdout as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator='\n')
        writer.writeheader()
        writer.writerows(rows)
    raise SystemExit(int(failed))


if __name__ == '__main__':
    main()
