"""SIRST-Aug."""

from typing import ClassVar

from mmirstd.datasets.base import IRSTDDataset
from mmirstd.datasets.layout import Layout
from mmirstd.registry import DATASETS


@DATASETS.register_module()
class SIRSTAugDataset(IRSTDDataset):
    """8,525 + 545 crops of 256x256, augmented from NUAA-SIRST (Zhang et al., AGPCNet, TAES 2023).

    Published as ``trainval/{images,masks}`` and ``test/{images,masks}``; ids are ``trainval/NAME`` and ``test/NAME``.
    Copies with one ``images/`` and one ``masks/`` are read as well, with splits of one's own.

    Splits: ``official/train`` and ``official/test`` are the two folders, ``official/val`` a seeded tenth of the first.
    Several images come from one of NUAA-SIRST, whose splits and ids are others: a model trained on one of the two sets
    has seen images of the other.
    """

    NAME = 'SIRST-Aug'
    LAYOUTS = (
        (
            Layout('trainval/images', 'trainval/masks', prefix='trainval/'),
            Layout('test/images', 'test/masks', prefix='test/'),
        ),
        Layout('images', 'masks'),
    )
    OFFICIAL_PARTS: ClassVar[dict[str, str]] = {'train': 'trainval/', 'test': 'test/'}
    SPLIT_NOTES: ClassVar[dict[str, str]] = {
        'official': 'several images are made from one of NUAA-SIRST, so val shares scenes with subtrain; '
        'do not compare across SIRST-Aug and NUAA-SIRST'
    }
