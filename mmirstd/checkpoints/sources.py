"""Where published weights come from that configs name and that are not shipped."""

import os.path as osp
from fnmatch import fnmatch

_SOURCES = {
    'adgfnet*': 'https://github.com/kuaileBenbi/ADGFNet, and convert it with `mmirstd convert adgfnet`',
    'edge_sam*': 'https://github.com/chongzhou96/EdgeSAM, "Checkpoints"',
    'efficient_sam*': 'https://github.com/yformer/EfficientSAM, folder weights',
    'mobile-sam_nuaa*': '`mmirstd train mobile-sam_nuaa` and `mmirstd publish`',
    'mobile_sam*': 'https://github.com/ChaoningZhang/MobileSAM, folder weights',
    'sam_vit_*': 'https://github.com/facebookresearch/segment-anything, "Model Checkpoints"',
    'semantic-sam_*': 'https://github.com/UX-Decoder/Semantic-SAM, and convert it with `mmirstd convert swin`',
    'resnet*-*': 'https://download.pytorch.org/models',
    'repvit_*': 'https://github.com/THU-MIG/RepViT, releases',
}


def describe_source(path: str) -> str:
    """Say where a file of published weights comes from, for the end of a message; empty if that is not known.

    >>> describe_source('data/weights/repvit_m1_1.pth')
    '; get it from https://github.com/THU-MIG/RepViT, releases, and put it there'
    >>> describe_source('mine.pth')
    ''
    """
    name = osp.basename(path).lower()
    source = next((source for pattern, source in _SOURCES.items() if fnmatch(name, pattern)), None)
    return f'; get it from {source}, and put it there' if source else ''
