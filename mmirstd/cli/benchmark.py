"""Measure speed and memory of models side by side.

All models are timed in turn, a slice of every round each, so that what else the machine does meets all of them.
"""

import argparse

from mmirstd.cli.options import add_cfg_options, keywords

FORMS = 'deploy, channels-last, compile, onnx, int8, fp32, bf16, fp16'


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options; their names are those of the arguments of :func:`mmirstd.apis.benchmark`."""
    add = parser.add_argument
    add('configs', nargs='+', metavar='CONFIG', help=f'config file or name, or CONFIG@FORM+FORM: {FORMS}')
    add('--shape', type=int, nargs='+', default=[256], metavar='N', help='image size: H W, or a number (default: 256)')
    add('--batch', type=int, default=1, metavar='N', help='images per call (default: 1)')
    add('--threads', type=int, metavar='N', help="default: PyTorch's choice")
    add('--device', choices=['cpu', 'cuda'], default='cpu')
    add('--precision', choices=['fp32', 'bf16', 'fp16'], default='fp32', help='below fp32 with autocast')
    add('--deploy', action='store_true', help='fold branches and batch norms, of all models')
    add('--channels-last', action='store_true', help='weights and images in channels-last layout')
    add('--compile', action='store_true', help='torch.compile')
    add('--cuda-graphs', action='store_true', help='replay the network as a CUDA graph')
    add('--end-to-end', action='store_true', help='from uint8 images in main memory to their masks there')
    add('--stages', action='store_true', help='from an image file to its detections, with the share of each stage')
    add('--rounds', type=int, default=15, metavar='N', help='default: 15')
    add('--seconds', type=float, default=1.0, metavar='S', help='per model and round, at least one call (default: 1)')
    add('--warmup', type=int, default=3, metavar='N', help='calls per model before all rounds (default: 3)')
    add('--reference', default='0', metavar='CONFIG|N', help='a CONFIG as given, or its place; default: 0, the first')
    add(
        '--checkpoints',
        nargs='+',
        default=[],
        metavar='FILE',
        help="one per CONFIG, '-' for random weights (default: all random)",
    )
    add('--accuracy', metavar='FILE.json', help='{"IoU on ...": {CONFIG name: value}}, for the picture')
    add(
        '--no-memory',
        dest='memory',
        action='store_false',
        help='do not measure memory (CPU: a process per model)',
    )
    add('--out', metavar='DIR', help='write benchmark.{json,csv,md} and, with --accuracy, .png there')
    add('--overwrite', action='store_true', help='allow replacing files in --out')
    add_cfg_options(parser)


def run(args: argparse.Namespace) -> None:
    """Measure, and print the table."""
    from mmirstd.apis import benchmark, benchmark_markdown

    print(benchmark_markdown(benchmark(**keywords(args))), end='')
    if args.out:
        print(f'written to {args.out}')
