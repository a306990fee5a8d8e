"""IRDST, the real part."""

from typing import ClassVar

from mmirstd.datasets.base import IRSTDDataset
from mmirstd.datasets.layout import Layout
from mmirstd.registry import DATASETS


@DATASETS.register_module()
class IRDSTDataset(IRSTDDataset):
    """40,653 real frames of 85 sequences, mostly 992x742 and 720x480 (Sun et al., RDIAN, TGRS 2023).

    Published as ``images/41/1(297).bmp`` and ``masks/41/1(297).bmp``, below ``real/`` in the whole download; some
    copies are PNG. Ids are ``41/1(297)``, in published splits with a slash before them. An entry ``41/`` of a split
    stands for the whole sequence. The simulated part has the same layout and ids ``131/401``: for splits of one's own,
    with ``data_root`` the folder ``simulation``.

    Splits: ``basicirstd`` 32,523/8,130 (the authors'), drawn by frame: **all 85 sequences are in both**, so test
    images differ from training images by a few frames. ``sequences`` is ours, drawn by sequence: 68/17.
    """

    NAME = 'IRDST'
    LAYOUTS = (Layout('images', 'masks', nested=True), Layout('real/images', 'real/masks', nested=True))
    SPLIT_NOTES: ClassVar[dict[str, str]] = {
        'basicirstd': 'train and test were drawn by frame and share all 85 sequences: numbers say little about new '
        "scenes; 'sequences/train' and 'sequences/test' share none"
    }
