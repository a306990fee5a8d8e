"""One image through all models: ``python tools/figures/draw_models.py --weights packaged DIR --out FILE.png``.

By default the image is a synthetic scene with faint targets; ``--image`` and ``--mask`` take a file of one's own.
"""

import argparse
from pathlib import Path

import numpy as np

from mmirstd.apis import predict_by_models
from mmirstd.io.files import encode_png, refuse_overwriting, write_atomically
from mmirstd.io.images import read_image
from mmirstd.io.masks import read_mask
from mmirstd.synthesis.config import SceneConfig
from mmirstd.synthesis.scenes import render_scene, scene_generator
from mmirstd.visualization.model_grid import draw_model_grid

SIZE = (256, 256)
FAINT = SceneConfig(target_counts=(0, 0, 0, 1), scr=(2, 6))


def scene(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Image and mask of a synthetic scene."""
    image, mask = render_scene(scene_generator(seed, 'test', 0), SIZE, FAINT)[:2]
    return image, mask.astype(bool)


def main() -> None:
    """Read the command line and write the picture."""
    parser = argparse.ArgumentParser(description='Draw one image through several models.')
    parser.add_argument('--weights', nargs='+', default=['packaged'], help='packaged, and folders of published files')
    parser.add_argument('--models', nargs='+', default=[], help='only these')
    parser.add_argument('--detectors', nargs='+', default=[], help='classical detectors, such as top-hat')
    parser.add_argument('--seed', type=int, default=0, help='of the synthetic scene')
    parser.add_argument('--image', type=Path, help='an image in place of the scene')
    parser.add_argument('--mask', type=Path, help='its mask')
    parser.add_argument('--out', type=Path, required=True, help='PNG to write')
    parser.add_argument('--overwrite', action='store_true', help='replace the file if it exists')
    args = parser.parse_args()
    if (args.image is None) != (args.mask is None):
        parser.error('--image and --mask go together')
    refuse_overwriting(args.out, args.overwrite, [p for p in (args.image, args.mask) if p])
    if args.image is None:
        image, mask = scene(args.seed)
    else:
        image, mask = read_image(args.image), read_mask(args.mask)[0] >= 128
    predictions = predict_by_models(image, models=args.models, weights=args.weights, detectors=args.detectors)
    title = f'synthetic scene, seed {args.seed}' if args.image is None else args.image.stem
    write_atomically(args.out, encode_png(draw_model_grid(image, mask, predictions, title), 'rgb'))
    print(args.out)


if __name__ == '__main__':
    main()
