"""NUDT-SIRST."""

from mmirstd.datasets.base import IRSTDDataset
from mmirstd.registry import DATASETS


@DATASETS.register_module()
class NUDTSIRSTDataset(IRSTDDataset):
    """1,327 synthetic scenes of 256x256, RGB files (Li et al., DNANet, TIP 2023): ``images/``, ``masks/``.

    Splits: ``basicirstd`` 663/664 (= ``dnanet``) and ``irsam`` 1061/266. The training part of ``irsam`` holds 533 of
    the other's 664 test images: numbers from the two do not compare.
    """

    NAME = 'NUDT-SIRST'
