"""NUAA-SIRST, also called SIRST v1."""

from mmirstd.datasets.base import IRSTDDataset
from mmirstd.datasets.layout import Layout
from mmirstd.registry import DATASETS


@DATASETS.register_module()
class NUAASIRSTDataset(IRSTDDataset):
    """427 single frames of 96 to 456 pixels, gray, RGB, RGBA and palette (Dai et al., ACM, WACV 2021).

    Published as ``images/Misc_N.png`` and ``masks/Misc_N_pixels0.png``; many copies name the masks ``Misc_N.png``.
    The mask of Misc_111 is 592x400 for an image of 325x220 and is resized to it.

    Splits: ``basicirstd`` 213/214 (= ``dnanet``), ``irsam`` 341/86, ``idx_427`` 256/85/86 and ``idx_320`` 160/64/96
    (train/val/test, with trainval). ``irsam/train`` is ``idx_427/trainval``, and their test splits are one. 172 of the
    214 test images of ``basicirstd`` are in that trainval split: numbers from the two do not compare.
    """

    NAME = 'NUAA-SIRST'
    LAYOUTS = (Layout('images', 'masks', mask_suffixes=('_pixels0', '')),)
    MASK_RESIZE_IDS = frozenset({'Misc_111'})
