"""SIRST v2."""

from mmirstd.datasets.base import IRSTDDataset
from mmirstd.datasets.layout import Layout
from mmirstd.registry import DATASETS


@DATASETS.register_module()
class SIRSTv2Dataset(IRSTDDataset):
    """1,024 frames of 96 to 1918 pixels, gray, RGB, RGBA and palette, 510 without a target (Dai et al., TGRS 2023).

    Published as ``mixed/X.png`` and ``annotations/masks/X_pixels0.png``; copies say ``images/`` and ``masks/``. Empty
    masks are samples like any other. The 427 images of NUAA-SIRST are among them under their ids.

    Splits: ``full`` 512/256/256 (train/val/test, with trainval), ``v1`` 256/85/86, the splits ``idx_427`` of
    NUAA-SIRST, and ``v1fullv2target`` 308/103/103, all images with a target. 88 images of ``v1/trainval`` are in
    ``full/test``: numbers do not compare, nor do models carry over.
    """

    NAME = 'SIRST-v2'
    LAYOUTS = (
        Layout('mixed', 'annotations/masks', mask_suffixes=('_pixels0', '')),
        Layout('images', 'masks', mask_suffixes=('_pixels0', '')),
    )
