"""Train a model, or train one further on your own images: --finetune FOLDER."""

import argparse

from mmirstd.cli.options import add_config, add_run_options, keywords, report
from mmirstd.utils.configs import DEFAULT_MODEL
from mmirstd.utils.errors import ArgumentError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options; their destinations are the arguments of :func:`mmirstd.apis.train`."""
    add_config(parser, optional=True)
    add_run_options(parser)
    parser.add_argument(
        '--resume',
        nargs='?',
        const=True,
        default=False,
        metavar='CHECKPOINT',
        help='continue the latest run in the work dir (or start if there is none), or from this checkpoint',
    )
    parser.add_argument(
        '--resume-anew',
        nargs='+',
        choices=['optimizer', 'schedule'],
        default=[],
        help='take these from the config when resuming, not from the checkpoint',
    )
    parser.add_argument('--overwrite', action='store_true', help='allow replacing the checkpoints in the work dir')
    parser.add_argument('--amp', action='store_true', help='mixed precision; bfloat16 on a CPU')

    parser.add_argument(
        '--finetune',
        metavar='FOLDER',
        help='train further on images/ and masks/ of this folder, a fifth of them held out; the metrics before and '
        f'after are printed. Without a config: {DEFAULT_MODEL}, whose weights come with the package',
    )
    parser.add_argument('--checkpoint', metavar='FILE', help='weights that --finetune starts from')


def run(args: argparse.Namespace) -> None:
    """Train, and print where the checkpoints are."""
    options = keywords(args)
    folder, checkpoint = options.pop('finetune'), options.pop('checkpoint')
    if folder is None:
        from mmirstd.apis import train

        if args.config is None or checkpoint is not None:
            raise ArgumentError('train CONFIG, or train --finetune FOLDER [--checkpoint FILE]')
        result = train(**options)
    else:
        from mmirstd.apis import finetune

        options['launcher'] = options['launcher'].replace('none', '')
        for key in ('data_root', 'allow_overlap', 'resume', 'resume_anew', 'launcher'):
            if options.pop(key):
                raise ArgumentError(f'--finetune does not go with --{key.replace("_", "-")}')
        options['config'] = args.config or DEFAULT_MODEL
        result = finetune(folder, checkpoint=checkpoint, **options).training
    report(**result._asdict())
