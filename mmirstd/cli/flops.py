"""Count parameters and multiply-adds of a model by part.

Counted are the multiply-adds of convolutions, matrix products and attention at inference; norms, activations,
interpolation and other element-wise work are not, as is usual in papers.
"""

import argparse
import json

from mmirstd.cli.options import CONFIG_HELP, add_cfg_options, keywords


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument('config', help=CONFIG_HELP)
    parser.add_argument('--shape', type=int, nargs='+', default=[256], metavar='N', help='image size: H W, or a number')
    parser.add_argument('--deploy', action='store_true', help='fold branches and batch norms first')
    parser.add_argument('--depth', type=int, default=2, help='levels of modules to list (default: 2)')
    parser.add_argument('--json', action='store_true', help='print JSON, counts in units')
    add_cfg_options(parser)


def run(args: argparse.Namespace) -> None:
    """Print the table."""
    from mmirstd.apis import model_complexity

    options = keywords(args)
    as_json = options.pop('json')
    found = model_complexity(**options)
    print(json.dumps(found.as_dict(), indent=2) if as_json else found)
