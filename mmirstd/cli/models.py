"""List the shipped configs, which the other commands take by name, with what is published of them."""

import argparse
import json
import sys


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument('pattern', nargs='?', help="a part of the name, or wildcards such as 'simir_*_nudt'")
    parser.add_argument('--json', action='store_true', help='print JSON')


def run(args: argparse.Namespace) -> int:
    """Print the table; the exit status is 1 if nothing matches."""
    from mmirstd.utils.configs import describe_configs

    found = describe_configs(args.pattern)
    if args.json:
        print(json.dumps(found, indent=2))
    elif not found:
        print(f'no shipped config matches {args.pattern!r}; `mmirstd models` lists all', file=sys.stderr)
    else:
        width = max(len(row['name']) for row in found)
        for row in found:
            metrics = ', '.join(
                f'{key} {value:g}{"e-6" if key == "Fa" else " %"}' for key, value in row['metrics'].items()
            )
            print(f'{row["name"]:<{width}}  {row["dataset"] or "":<12}  {metrics}'.rstrip())
    return 0 if found else 1
