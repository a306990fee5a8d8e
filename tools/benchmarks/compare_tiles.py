"""Compare tiles with the whole image, on a 16-bit mosaic of real images.

``python tools/benchmarks/compare_tiles.py sgem_unet-s_joint --images data/IRSTD-1k/IRSTD1k_Img --tiles 1024:256``
lays the first images of a folder beside each other, in the order of their names, predicts the mosaic whole and by tiles
of SIZE:OVERLAP, and prints a Markdown table.
"""

import argparse
from pathlib import Path

import cv2
import numpy as np
import torch

from mmirstd.apis import init_model
from mmirstd.apis.inferencer import IRSTDInferencer
from mmirstd.io.tables import markdown_rows
from mmirstd.ops.detections import Detections


def mosaic(folder: Path, side: int) -> np.ndarray:
    """Tile a square with the images of a folder, 16 bit.

    Raises:
        SystemExit: If there are too few images, or they are of several sizes.
    """
    rows, row, shapes = [], [], set()
    for path in sorted(folder.iterdir()):
        image = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
        if image is None:
            continue
        shapes.add(image.shape)
        row.append(image.astype(np.uint16) * 257)
        if sum(part.shape[1] for part in row) >= side:
            rows.append(np.hstack(row))
            row = []
        if len(shapes) > 1:
            raise SystemExit(f'{folder}: images of several sizes: {sorted(shapes)}')
        if sum(part.shape[0] for part in rows) >= side:
            return np.ascontiguousarray(np.vstack(rows)[:side, :side])
    raise SystemExit(f'{folder}: too few images for {side} x {side} pixels')


def found(model: torch.nn.Module, image: np.ndarray, tile: int | None, overlap: int | None) -> Detections:
    """What is found with tiles, or in the whole image where the tile is larger."""
    inferencer = IRSTDInferencer(model, tile=tile, overlap=overlap, show_progress=False)
    return inferencer(image, keep_probability=True)['predictions'][0]


def main() -> None:
    """Predict, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n', 1)[0])
    parser.add_argument('model', help='name of a model whose weights come with the package')
    parser.add_argument('--checkpoint', help='by default the weights of the package')
    parser.add_argument('--images', type=Path, required=True, help='folder of images of one size')
    parser.add_argument('--side', type=int, default=1600, help='of the mosaic, in pixels')
    parser.add_argument('--tiles', nargs='+', default=['1024:256', '512:128'], metavar='SIZE:OVERLAP')
    args = parser.parse_args()
    image = mosaic(args.images, args.side)
    model = init_model(args.model, args.checkpoint)
    whole = found(model, image, 2 * args.side, 0)
    rows = []
    for tile in args.tiles:
        parts = found(model, image, *map(int, tile.split(':')))
        rows.append(
            {
                'tile, overlap': tile.replace(':', ', '),
                'largest difference': f'{np.abs(parts.probability - whole.probability).max():.2g}',
                'pixels of the mask that differ': f'{(parts.mask != whole.mask).sum()} of {whole.mask.sum()}',
                'targets with tiles, whole': f'{len(parts.boxes)}, {len(whole.boxes)}',
            }
        )
    print(f'{args.model}, {args.side} x {args.side}\n\n{markdown_rows(rows)}')


if __name__ == '__main__':
    main()
