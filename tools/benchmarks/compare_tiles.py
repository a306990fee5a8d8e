"""Compare tiles with whole images, on 16-bit mosaics of the frames of IRSTD-1k.

``python tools/benchmarks/compare_tiles.py sgem_unet-s_joint --data-root data/IRSTD-1k --side 2 --tiles 1024:256``
lays SIDE x SIDE frames of a split beside each other, as often as there are frames, predicts each mosaic whole and by
tiles of SIZE:OVERLAP, and prints a Markdown table.
"""

import argparse
from collections.abc import Iterator

import cv2
import numpy as np
import torch

from mmirstd.apis import init_model
from mmirstd.apis.inferencer import IRSTDInferencer
from mmirstd.datasets import IRSTD1kDataset
from mmirstd.io.masks import read_mask
from mmirstd.io.tables import markdown_rows
from mmirstd.ops.detections import Detections


def mosaics(dataset: IRSTD1kDataset, side: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Lay frames beside each other: (H, W) uint16 images and boolean masks, for as long as the frames suffice."""
    for first in range(0, len(dataset) - side * side + 1, side * side):
        samples = [dataset.get_data_info(i) for i in range(first, first + side * side)]
        images = [cv2.imread(s['img_path'], cv2.IMREAD_GRAYSCALE).astype(np.uint16) * 257 for s in samples]
        masks = [read_mask(s['seg_map_path'])[0] > 0 for s in samples]
        rows = range(0, side * side, side)
        yield tuple(np.vstack([np.hstack(parts[i : i + side]) for i in rows]) for parts in (images, masks))


def found(model: torch.nn.Module, image: np.ndarray, tile: int, overlap: int | None) -> Detections:
    """What is found with tiles, or in the whole image where the tile is 0."""
    inferencer = IRSTDInferencer(model, tile=tile, overlap=overlap, show_progress=False)
    return inferencer(image, keep_probability=True)['predictions'][0]


def main() -> None:
    """Predict, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n', 1)[0])
    parser.add_argument('model', help='name of a model whose weights come with the package')
    parser.add_argument('--checkpoint', help='by default the weights of the package')
    parser.add_argument('--data-root', required=True, help='folder of IRSTD-1k')
    parser.add_argument('--split', default='basicirstd/val')
    parser.add_argument('--side', type=int, choices=range(1, 8), default=2, help='frames of 512 pixels along a side')
    parser.add_argument('--tiles', nargs='*', default=['1024:256', '512:128'], metavar='SIZE:OVERLAP')
    args = parser.parse_args()
    model = init_model(args.model, args.checkpoint)
    tiles = ['whole', *args.tiles]
    overlaps, unions, targets, differing = (np.zeros(len(tiles), int) for _ in range(4))
    largest = np.zeros(len(tiles))
    for image, mask in mosaics(IRSTD1kDataset(data_root=args.data_root, split=args.split, pipeline=[]), args.side):
        whole = found(model, image, 0, None)
        for i, tile in enumerate(tiles):
            parts = found(model, image, *map(int, tile.split(':'))) if i else whole
            overlaps[i] += (parts.mask & mask).sum()
            unions[i] += (parts.mask | mask).sum()
            targets[i] += len(parts.boxes)
            differing[i] += (parts.mask != whole.mask).sum()
            largest[i] = max(largest[i], np.abs(parts.probability - whole.probability).max())
    rows = [
        {
            'tile, overlap': tile.replace(':', ', '),
            'IoU': f'{overlaps[i] / unions[i]:.4f}',
            'targets': targets[i],
            'pixels of the mask that differ': '-' if i == 0 else differing[i],
            'largest difference of a probability': '-' if i == 0 else f'{largest[i]:.2g}',
        }
        for i, tile in enumerate(tiles)
    ]
    side = 512 * args.side
    print(f'{args.model}, {side} x {side}\n\n{markdown_rows(rows)}')


if __name__ == '__main__':
    main()
