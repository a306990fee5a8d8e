"""Convert a published checkpoint to this project's keys.

SOURCE is one of

  repvit         a RepViT classifier of its authors or of timm -> mmirstd.RepViT
  sam            the image encoder of SAM, MobileSAM or EfficientSAM (also of mmpretrain and timm, and TinyViT's own
                 checkpoints) -> mmirstd.SAMViT or mmirstd.TinyViT
  edge-sam       EdgeSAM of its authors -> configs/irsam/edge-sam_*
  efficient-sam  EfficientSAM of its authors -> configs/irsam/efficient-sam_*
  swin           the Swin encoder of Semantic-SAM, or of its authors -> MMSegmentation's SwinTransformer
  simir          a SimIR model of its authors -> configs/simir/simir_repvit_*, or the backbone that they distilled
                 -> mmirstd.QueryEncoder
  acm            ACM of acm-pytorch or BasicIRSTD -> configs/baselines/acm-fpn* or acm-unet*; ALCNet of BasicIRSTD
                 -> configs/baselines/alcnet*
  abcnet, adgfnet, dnanet, egpnet, iaanet, isnet, mshnet, rdian, repisd, rpcanet (also L-RPCANet), sctransnet, uiunet
                 a network of its authors -> configs/baselines/NAME*
  mdvsfa         a generator of TianwangJia/MDvsFAcGAN -> configs/baselines/mdvsfa-g1* or mdvsfa-g2*

init_cfg=dict(type='Pretrained', checkpoint=...) of mmirstd's backbones converts by itself; a converted file is for
keeping the part alone. Annotations: `mmirstd convert labels`.
"""

import argparse

from mmirstd.cli.options import keywords


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument('source', metavar='SOURCE', help='one of the above')
    parser.add_argument('checkpoint', help='.pt, .pth or .safetensors file, or its address')
    parser.add_argument('out', help='.pth file to write')
    parser.add_argument('--prefix', help="take only the keys below this, e.g. 'backbone.'")
    parser.add_argument('--overwrite', action='store_true', help='replace the file if it exists')


def run(args: argparse.Namespace) -> None:
    """Convert, and print what was written."""
    from mmirstd.apis import convert_checkpoint

    print(f'{args.out}: {convert_checkpoint(**keywords(args))}')
