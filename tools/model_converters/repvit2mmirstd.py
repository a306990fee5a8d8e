"""Convert a RepViT checkpoint of its authors or of timm: ``python tools/model_converters/repvit2mmirstd.py SRC DST``.

``init_cfg=dict(type='Pretrained', checkpoint=SRC)`` of ``mmirstd.RepViT`` converts by itself; the file is for keeping
the trunk without its classifier.
"""

import argparse
import os.path as osp

try:
    from mmirstd.apis import tool_options as cli
except ImportError as e:
    if e.name not in ('mmirstd', None):
        raise
    # e.name is None where mmirstd says that its stack is missing.
    root = osp.dirname(osp.dirname(osp.dirname(osp.abspath(__file__))))
    advice = f'mmirstd is not installed in this Python: run `make` in {root} and use {root}/.venv/bin/python'
    raise SystemExit(f'error: {advice if e.name else e}') from None
import torch

from mmirstd.checkpoints.convert.repvit import convert_repvit_state_dict, repvit_arch
from mmirstd.checkpoints.loading import CheckpointError, load_checkpoint
from mmirstd.checkpoints.state_dict import unwrap_state_dict
from mmirstd.models.backbones.repvit import ARCHS


def convert(source: str, destination: str, prefix: str | None = None) -> str:
    """Write the converted trunk; returns a line that says what it is."""
    try:
        state, dropped = convert_repvit_state_dict(unwrap_state_dict(load_checkpoint(source), prefix))
    except ValueError as error:
        raise CheckpointError(f'{source}: {error}') from None
    arch = repvit_arch(state)
    name = next((repr(name) for name, known in ARCHS.items() if known == arch), str(arch))
    torch.save({'state_dict': state, 'meta': {'arch': arch}}, destination)
    return f'{destination}: RepViT with arch={name}, {len(state)} tensors; left out {len(dropped)} of classifiers'


def main(argv: list[str] | None = None) -> None:
    """Read the command line and convert."""
    parser = argparse.ArgumentParser(description="Convert a RepViT checkpoint to this project's keys.")
    parser.add_argument('source', help='.pth or .safetensors file, or its address')
    parser.add_argument('destination', help='.pth file to write')
    parser.add_argument('--prefix', help="take only the keys below this, e.g. 'backbone.'")
    args = parser.parse_args(argv)
    with cli.one_line_errors():
        print(convert(args.source, args.destination, args.prefix))


if __name__ == '__main__':
    main()
