"""Run another project's script, such as MMSegmentation's train.py, with configs that have a base mmirstd::...

    mmirstd run mmseg::test.py my_config.py best.pth --out labels
    mmirstd run path/to/their/train.py my_config.py
    torchrun --nproc_per_node 8 -m mmirstd run mmseg::train.py my_config.py --launcher pytorch

The same as `import mmirstd` at the top of the script: MMEngine reads a config's bases before its custom_imports.
"""

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument('script', metavar='SCRIPT', help='a Python file, or PACKAGE::FILE for one of its tools')
    parser.add_argument('arguments', nargs=argparse.REMAINDER, metavar='...', help='arguments of the script')


def run(args: argparse.Namespace) -> None:
    """Run the script."""
    from mmirstd.apis import run_script

    run_script(args.script, args.arguments)
