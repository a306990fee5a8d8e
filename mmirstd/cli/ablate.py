"""Compare variants of a training in equal CPU time: each is trained with several seeds.

VARIANTS is a config with one more variable, variants = dict(NAME=dict(CHANGES), ...); the first is what the others are
compared with. A step of each variant is measured, and its iterations are what fits into the minutes; the schedule is
scaled to them. A second call keeps finished trainings and resumes interrupted ones. The table is of the validation
split; --test adds metrics on the test split, for a report of what was chosen before.
"""

import argparse

from mmirstd.cli.options import at_least, keywords


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options; their names are those of the arguments of :func:`mmirstd.apis.ablate_recipes`."""
    add = parser.add_argument
    add('variants', metavar='VARIANTS', help='config with variants')
    add('--minutes', type=float, required=True, metavar='M', help='CPU minutes of each training')
    add('--seeds', type=int, nargs='+', default=[0, 1], metavar='SEED', help='random seeds (default: 0 1)')
    add('--only', nargs='+', action='extend', default=[], metavar='NAME', help='variants to train (default: all)')
    add('--work-dir', metavar='DIR', help='where to write; by default work_dirs/VARIANTS-Mmin')
    add('--data-root', metavar='DIR', help='folder of the dataset; by default what the config says')
    add('--amp', action='store_true', help='mixed precision; bfloat16 on a CPU')
    add('--test', action='store_true', dest='test_too', help='also test each trained model on the test split')
    add('--threads', type=at_least(1), default=1, metavar='N', help='CPU threads of each training (default: 1)')


def run(args: argparse.Namespace) -> None:
    """Train, and print the table."""
    from mmirstd.apis import ablate_recipes
    from mmirstd.apis.recipe_ablation import table_rows
    from mmirstd.io.tables import text_rows

    print(text_rows(table_rows(ablate_recipes(**keywords(args)))))
