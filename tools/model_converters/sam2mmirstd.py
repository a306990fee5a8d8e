"""Take the image encoder out of a SAM or MobileSAM checkpoint: python tools/model_converters/sam2mmirstd.py SRC DST.

``init_cfg=dict(type='Pretrained', checkpoint=SRC)`` of ``mmirstd.SAMViT`` and ``mmirstd.TinyViT`` converts by itself;
the file is for keeping the encoder alone. Encoders of mmpretrain and timm and TinyViT's own checkpoints are taken too.
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

from mmirstd.checkpoints.convert.sam import convert_sam_vit_state_dict, convert_tiny_vit_state_dict
from mmirstd.checkpoints.loading import CheckpointError, load_checkpoint
from mmirstd.checkpoints.state_dict import unwrap_state_dict

CONVERTERS = {'SAMViT': convert_sam_vit_state_dict, 'TinyViT': convert_tiny_vit_state_dict}


def convert(source: str, destination: str, prefix: str | None = None) -> str:
    """Write the converted encoder; returns a line that says what it is."""
    try:
        weights = unwrap_state_dict(load_checkpoint(source), prefix)
    except ValueError as error:
        raise CheckpointError(f'{source}: {error}') from None
    errors = []
    for name, converter in CONVERTERS.items():
        try:
            state, dropped = converter(weights)
        except ValueError as error:
            errors.append(str(error))
            continue
        torch.save({'state_dict': state, 'meta': {'backbone': name}}, destination)
        return f'{destination}: {name}, {len(state)} tensors; left out {len(dropped)} of other parts'
    raise CheckpointError(f'{source} fits neither: {"; ".join(errors)}')


def main(argv: list[str] | None = None) -> None:
    """Read the command line and convert."""
    parser = argparse.ArgumentParser(description="Convert SAM's or MobileSAM's image encoder to this project's keys.")
    parser.add_argument('source', help='.pt, .pth or .safetensors file, or its address')
    parser.add_argument('destination', help='.pth file to write')
    parser.add_argument('--prefix', help="take only the keys below this, e.g. 'backbone.'")
    args = parser.parse_args(argv)
    with cli.one_line_errors():
        print(convert(args.source, args.destination, args.prefix))


if __name__ == '__main__':
    main()
