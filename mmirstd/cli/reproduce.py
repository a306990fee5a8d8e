"""Train and test models on datasets, keep a JSON record of each run, and write the results pages from the records.

Finished runs are skipped, interrupted ones continue, and a run that fails does not stop the others. --weights tests
existing weights and trains nothing. --pages writes the tables and pictures of the results pages from all records.
"""

import argparse

from mmirstd.cli.options import add_cfg_options, at_least, keywords
from mmirstd.utils.errors import ArgumentError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options; their destinations are the arguments of :func:`mmirstd.apis.reproduce`."""
    add = parser.add_argument
    several = {'nargs': '+', 'action': 'extend', 'default': []}
    add('--models', **several, metavar='NAME', help='configs, with or without their dataset: sgem_unet-s, adgfnet-lite')
    add('--datasets', **several, metavar='NAME', help='endings of configs: nuaa, nudt, irstd1k, ...')
    add(
        '--budget',
        choices=['cpu', 'gpu'],
        help='schedule of the trainings: gpu: as each config says; cpu: the fast one where a config trains for long',
    )
    add(
        '--weights',
        metavar='WHAT',
        help='train nothing and test these: packaged, a file, or a folder of published ones',
    )
    add('--out', metavar='DIR', default='work_dirs/reproduce', help='checkpoints and logs (default: %(default)s)')
    add('--records', metavar='DIR', help='folder of the records (default: records in --out)')
    add('--data-root', metavar='DIR', help='folder that holds the datasets (default: what the configs say)')
    add('--amp', action='store_true', help='train in mixed precision; bfloat16 on a CPU')
    add(
        '--resamples',
        type=at_least(0),
        default=1000,
        metavar='N',
        help='resamples of the images for 95 %% intervals (default: %(default)s)',
    )
    add('--workers', type=at_least(0), default=1, metavar='N', help='processes that score (default: %(default)s)')
    add('--pages', metavar='DIR', help='write the tables of the pages in this folder from records, and run nothing')
    add('--pictures', metavar='DIR', help='with --pages: draw curves into this folder, too')
    add('--metafiles', metavar='DIR', help='with --pages: write the metrics of the metafiles in this folder of configs')
    add_cfg_options(parser)


def run(args: argparse.Namespace) -> int:
    """Run, or write the pages; the exit status is 1 if a run failed."""
    options = keywords(args)
    pages, *places = (options.pop(key) for key in ('pages', 'pictures', 'metafiles'))
    if pages is None and any(places):
        raise ArgumentError('--pictures and --metafiles go with --pages')
    if pages is not None:
        from mmirstd.apis import write_results

        if args.models or args.datasets or args.weights or args.budget:
            raise ArgumentError('--pages writes what records say: it goes with no option of runs')
        for path in write_results(pages, records=args.records, pictures=places[0], metafiles=places[1]):
            print(path)
        return 0
    from mmirstd.apis import reproduce

    return int(any(outcome.state == 'failed' for outcome in reproduce(**options)))
