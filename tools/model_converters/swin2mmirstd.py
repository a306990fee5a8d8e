"""Take the Swin encoder out of a Semantic-SAM checkpoint: ``python tools/model_converters/swin2mmirstd.py SRC DST``.

DST is for ``init_cfg=dict(type='Pretrained', checkpoint=DST)`` of MMSegmentation's ``SwinTransformer``. Swin's authors'
own checkpoints, and those of any other model around their Swin, are taken too.
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

from mmirstd.checkpoints.convert.swin import convert_swin_state_dict, swin_arch
from mmirstd.checkpoints.loading import CheckpointError, load_checkpoint
from mmirstd.checkpoints.state_dict import unwrap_state_dict


def convert(source: str, destination: str) -> str:
    """Write the converted encoder; returns a line that says what it is."""
    try:
        state, dropped = convert_swin_state_dict(unwrap_state_dict(load_checkpoint(source)))
    except ValueError as error:
        raise CheckpointError(f'{source}: {error}') from None
    arch = swin_arch(state)
    torch.save({'state_dict': state, 'meta': {'arch': arch}}, destination)
    arguments = ', '.join(f'{key}={value}' for key, value in arch.items())
    return f'{destination}: SwinTransformer({arguments}), {len(state)} tensors; left out {len(dropped)}'


def main(argv: list[str] | None = None) -> None:
    """Read the command line and convert."""
    parser = argparse.ArgumentParser(description="Convert a Swin Transformer to MMSegmentation's keys.")
    parser.add_argument('source', help='.pth or .safetensors file, or its address')
    parser.add_argument('destination', help='.pth file to write')
    args = parser.parse_args(argv)
    with cli.one_line_errors():
        print(convert(args.source, args.destination))


if __name__ == '__main__':
    main()
