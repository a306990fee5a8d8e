"""MDFA, also called MDvsFA and NUST-SIRST."""

from collections.abc import Collection
from typing import ClassVar

from mmirstd.datasets.base import IRSTDDataset
from mmirstd.datasets.layout import Layout
from mmirstd.registry import DATASETS

_DAMAGED = (239, 245, 260, 264, 2543, 2553, 2561, 2808, 2817, 2819, 3503)
_DAMAGED += (3504, 3947, 3949, 3962, 7389, 7395, 8094, 8105, 8112, 8757, 8772)


@DATASETS.register_module()
class MDFADataset(IRSTDDataset):
    """10,000 training images of 128x128 and 100 test images, weak labels (Wang et al., MDvsFA, ICCV 2019).

    Published as ``training/000000_1.png`` (image), ``training/000000_2.png`` (mask), ``test_org/00000.png`` and
    ``test_gt/00000.png``; the authors' PyTorch code calls the three folders ``training_data``, ``test_single_frame``
    and ``test_single_frame_gt``. Ids are ``training/000000`` and ``test/00000``.

    22 training pairs are damaged as published and left out. Copies from which they were removed and the rest
    renumbered, 000000 to 009977, are recognized and used whole.

    Splits: ``official/train`` and ``official/test`` are the folders, ``official/val`` a seeded tenth of the first.
    """

    NAME = 'MDFA'
    LAYOUTS = (
        (
            Layout('training', 'training', ('_1',), ('_2',), prefix='training/'),
            Layout('test_org', 'test_gt', prefix='test/'),
        ),
        (
            Layout('training_data', 'training_data', ('_1',), ('_2',), prefix='training/'),
            Layout('test_single_frame', 'test_single_frame_gt', prefix='test/'),
        ),
    )
    OFFICIAL_PARTS: ClassVar[dict[str, str]] = {'train': 'training/', 'test': 'test/'}
    CORRUPT_IDS = frozenset(f'training/{i:06d}' for i in _DAMAGED)

    def corrupt_ids(self, found: Collection[str]) -> Collection[str]:
        """Return no id for a renumbered copy: exactly 000000 to 009977."""
        training = {i for i in found if i.startswith('training/')}
        renumbered = training == {f'training/{i:06d}' for i in range(10_000 - len(_DAMAGED))}
        return () if renumbered else super().corrupt_ids(found)
