"""IRSTD-1k."""

from mmirstd.datasets.base import IRSTDDataset
from mmirstd.datasets.layout import Layout
from mmirstd.registry import DATASETS


@DATASETS.register_module()
class IRSTD1kDataset(IRSTDDataset):
    """1,001 single frames of 512x512 (Zhang et al., ISNet, CVPR 2022).

    Published as ``IRSTD1k_Img/`` and ``IRSTD1k_Label/``; many copies say ``images/`` and ``masks/``. 85 masks hold
    values between 0 and 255, which ``LoadTargetMask`` cuts at its threshold.

    Splits: ``basicirstd`` 800/201 and ``irsam`` 800/200: one training split, and XDU997 missing from the test split of
    the second.
    """

    NAME = 'IRSTD-1k'
    LAYOUTS = (Layout('IRSTD1k_Img', 'IRSTD1k_Label'), Layout('images', 'masks'))
