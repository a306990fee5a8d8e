"""Write synthetic scenes to disk in the layout of NUDT-SIRST.

images/000001.png and masks/000001.png ({0, 255}) onwards, train.txt, val.txt and test.txt with the ids of each split,
and scenes.json with all parameters. The pictures are those that mmirstd.SyntheticIRSTDDataset renders for the same
seed, split, index and size. The folder is built beside its final place and moved there when it is complete; an
interrupted run is continued.
"""

import argparse

from mmirstd.cli.options import keywords
from mmirstd.utils.text import count_of


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options; their names are those of the arguments of :func:`mmirstd.apis.synthesize`."""
    parser.add_argument('out', help='folder to write')
    for split, num in (('train', 1000), ('val', 100), ('test', 200)):
        parser.add_argument(f'--{split}', type=int, default=num, metavar='N', help=f'{split} scenes (default {num})')
    parser.add_argument('--size', type=int, nargs=2, default=(256, 256), metavar=('H', 'W'))
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument(
        '--scene', nargs='+', action='extend', default=[], metavar='KEY=VALUE', help='fields of SceneConfig'
    )
    parser.add_argument('--workers', type=int, help='processes; the result is the same')
    parser.add_argument('--overwrite', action='store_true', help='replace scenes that were written to OUT before')


def run(args: argparse.Namespace) -> None:
    """Write the scenes."""
    from mmirstd.apis import synthesize

    folder = synthesize(**keywords(args))
    print(f'{count_of(args.train + args.val + args.test, "scene")} in {folder}')
