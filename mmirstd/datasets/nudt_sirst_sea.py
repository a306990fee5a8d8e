"""NUDT-SIRST-Sea."""

from mmirstd.datasets.base import IRSTDDataset
from mmirstd.registry import DATASETS


@DATASETS.register_module()
class NUDTSIRSTSeaDataset(IRSTDDataset):
    """5,808 tiles of 48 satellite images with tiny ships (Wu et al., MTU-Net, TGRS 2023): ``images/``, ``masks/``.

    Ids are ``14-05-03``: scene, then the place of the tile in it. ``Target_image/`` and ``Target_mask/``, cut-outs for
    the authors' copy-paste, are not read.

    Splits: ``basicirstd`` 4,961/847 (scenes 01-41 and 42-48). ``val`` is drawn by scene, as the test split is.
    """

    NAME = 'NUDT-SIRST-Sea'
