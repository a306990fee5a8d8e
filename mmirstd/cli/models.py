"""List the shipped configs, which the other commands take by name, with what is published of them.

Of a single one, also say what its weights come from, if some come with the package.
"""

import argparse
import json
import sys


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument('pattern', nargs='?', help="a name, a part of it, or wildcards such as 'simir_*_nudt'")
    parser.add_argument('--packaged', action='store_true', help='only those whose weights come with the package')
    parser.add_argument('--json', action='store_true', help='print JSON')


def run(args: argparse.Namespace) -> int:
    """Print the table; the exit status is 1 if nothing matches."""
    from mmirstd.utils.configs import describe_configs

    found = describe_configs(args.pattern)
    found = [row for row in found if row['name'] == args.pattern] or found
    if args.packaged:
        found = [row for row in found if row['weights']]
    if args.json:
        print(json.dumps(found, indent=2))
    elif not found:
        kind = 'config with weights in the package' if args.packaged else 'shipped config'
        print(f'no {kind} matches {args.pattern!r}; `mmirstd models` lists all', file=sys.stderr)
    else:
        width = max(len(row['name']) for row in found)
        for row in found:
            marks = '  weights in the package' if row['weights'] else ''
            for dataset, metrics in (row['results'] or {'': {}}).items():
                text = ', '.join(f'{key} {value:g}{"e-6" if key == "Fa" else " %"}' for key, value in metrics.items())
                print(f'{row["name"]:<{width}}  {dataset:<12}  {text}{marks}'.rstrip())
        if len(found) == 1 and found[0]['weights']:
            from mmirstd.utils.configs import describe_weights

            print(describe_weights(found[0]['name']))
    return 0 if found else 1
