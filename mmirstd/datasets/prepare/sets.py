"""The public sets: where their authors publish them, under which conditions, and how downloads are laid out."""

from collections.abc import Sequence
from typing import NamedTuple

from mmirstd.datasets.base import IRSTDDataset
from mmirstd.datasets.folder import FolderDataset
from mmirstd.datasets.irdst import IRDSTDataset
from mmirstd.datasets.irstd1k import IRSTD1kDataset
from mmirstd.datasets.layout import Layout
from mmirstd.datasets.mdfa import MDFADataset
from mmirstd.datasets.nuaa_sirst import NUAASIRSTDataset
from mmirstd.datasets.nudt_sirst import NUDTSIRSTDataset
from mmirstd.datasets.nudt_sirst_sea import NUDTSIRSTSeaDataset
from mmirstd.datasets.prepare.layouts import FolderPair, plain_name
from mmirstd.datasets.sirst_aug import SIRSTAugDataset
from mmirstd.datasets.sirst_v2 import SIRSTv2Dataset
from mmirstd.utils.errors import ArgumentError
from mmirstd.utils.text import did_you_mean


class SetInfo(NamedTuple):
    """What is known of a set before it is opened.

    ``num`` images are published, ``num_empty`` of them without a target, None if that is not known; ``aliases`` are
    names of its folder in collections of several sets; ``copies`` are layouts of copies that the dataset class does not
    read, as pairs of folders with where they go.
    """

    key: str
    dataset: type[IRSTDDataset]
    page: str = ''
    download: str = ''
    license: str = ''
    num: int | None = None
    num_empty: int | None = None
    aliases: tuple[str, ...] = ()
    copies: tuple[tuple[FolderPair, ...], ...] = ()

    @property
    def name(self) -> str:
        """The set's name, and that of its folder."""
        return self.dataset.NAME or self.key

    @property
    def layouts(self) -> tuple[tuple[FolderPair, ...], ...]:
        """What the dataset class reads, best first."""
        return tuple(tuple(FolderPair(p, p) for p in layout_parts(layout)) for layout in self.dataset.LAYOUTS)


def layout_parts(layout: Layout | Sequence[Layout]) -> tuple[Layout, ...]:
    """The pairs of folders of one of a dataset's ``LAYOUTS``, most of which have one."""
    return (layout,) if isinstance(layout, Layout) else tuple(layout)


def _two_folders(out: Layout) -> tuple[FolderPair, ...]:
    """``trainval/`` and ``test/``, as several repositories hand on sets that have one folder."""
    return tuple(
        FolderPair(out._replace(img_dir=f'{part}/images', mask_dir=f'{part}/masks'), out)
        for part in ('trainval', 'test')
    )


_PLAIN = Layout('images', 'masks')
NONE_STATED = 'none stated by the authors'

SETS = {
    info.key: info
    for info in (
        SetInfo(
            'nuaa-sirst',
            NUAASIRSTDataset,
            page='https://github.com/YimianDai/sirst',
            download='images.zip and masks.zip in the repository; its ZIP or checkout can be given as it is',
            license=NONE_STATED,
            num=427,
            num_empty=0,
            aliases=('SIRST', 'SIRST-v1', 'NUAA'),
            copies=(_two_folders(Layout('images', 'masks', mask_suffixes=('_pixels0', ''))),),
        ),
        SetInfo(
            'nudt-sirst',
            NUDTSIRSTDataset,
            page='https://github.com/YeRen123455/Infrared-Small-Target-Detection',
            download='one archive behind the link in the README',
            license='none stated for the images; the repository has the MIT license',
            num=1327,
            num_empty=0,
            aliases=('NUDT',),
            copies=(_two_folders(_PLAIN),),
        ),
        SetInfo(
            'irstd-1k',
            IRSTD1kDataset,
            page='https://github.com/RuiZhang97/ISNet',
            download='one archive behind the link in the README, with IRSTD1k_Img and IRSTD1k_Label',
            license='MIT, by the release agreement in the README',
            num=1001,
            num_empty=0,
            aliases=('IRSTD1k',),
            copies=(_two_folders(_PLAIN),),
        ),
        SetInfo(
            'sirst-aug',
            SIRSTAugDataset,
            page='https://github.com/Tianfang-Zhang/AGPCNet',
            download='one archive behind the link in the README, with trainval and test',
            license='none stated for the images, which are made from NUAA-SIRST; the repository has the MIT license',
            num=9070,
            aliases=('SIRSTAUG',),
        ),
        SetInfo(
            'mdfa',
            MDFADataset,
            page='https://github.com/wanghuanphd/MDvsFA_cGAN',
            download='data.part1.rar to data.part6.rar in the repository; unpack them first: unrar x data.part1.rar',
            license=NONE_STATED,
            num=10_100,
            aliases=('MDvsFA', 'NUST-SIRST', 'MDvsFA_cGAN'),
        ),
        SetInfo(
            'irdst',
            IRDSTDataset,
            page='https://github.com/sun11999/RDIAN',
            download='the single-frame version; only real/ is used, simulation/ is not',
            license='none stated for the images; the repository names the MIT license',
            num=40_653,
            aliases=('IRDST-real', 'real'),
        ),
        SetInfo(
            'sirst-v2',
            SIRSTv2Dataset,
            page='https://github.com/YimianDai/open-sirst-v2',
            download='the repository: its ZIP or checkout',
            license=NONE_STATED,
            num=1024,
            num_empty=510,
            aliases=('open-sirst-v2', 'SIRSTv2'),
        ),
        SetInfo(
            'nudt-sirst-sea',
            NUDTSIRSTSeaDataset,
            page='https://github.com/TianhaoWu16/Multi-level-TransUNet-for-Space-based-Infrared-Tiny-ship-Detection',
            download='NUDT-SIRST-Sea.zip behind the link in the README',
            license='none stated for the images; the code has the MIT license',
            num=5808,
        ),
        SetInfo(
            'folder',
            FolderDataset,
            download='your own data: a folder or archive with images/ and masks/; --out is needed',
            license='your own',
        ),
    )
}


def find_info(name: str) -> SetInfo:
    """Find a set by its key, its name or an alias, in any case and punctuation: ``'NUDT_SIRST'``.

    Raises:
        ArgumentError: If there is none.
    """
    for info in SETS.values():
        if plain_name(name) in {plain_name(known) for known in (info.key, info.name, *info.aliases)}:
            return info
    raise ArgumentError(f'unknown set {name!r}; known: {", ".join(SETS)}{did_you_mean(name.lower(), SETS)}')


def describe_sets() -> str:
    """List the sets with their pages, downloads, conditions and numbers."""
    blocks = []
    for info in SETS.values():
        lines = [f'{info.key}: mmirstd.{info.dataset.__name__}']
        if info.num:
            empty = f', {info.num_empty} of them without a target' if info.num_empty else ''
            lines.append(f'  images    {info.num:,}{empty}')
        lines += [
            f'  {title:<9} {text}'
            for title, text in (('page', info.page), ('download', info.download), ('license', info.license))
            if text
        ]
        blocks.append('\n'.join(lines))
    return '\n\n'.join(blocks)
