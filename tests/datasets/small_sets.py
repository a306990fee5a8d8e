"""Small datasets written in the layouts in which the real ones are published."""

import numpy as np
from PIL import Image

from mmirstd.datasets import MDFADataset, SIRSTAugDataset
from mmirstd.datasets.layout import Layout


def write(path, size=(12, 10), value=200, mode='L'):
    """An image of zeros with four pixels of another value."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.zeros((size[1], size[0]), np.uint8)
    pixels[2:4, 3:5] = value
    Image.fromarray(pixels).convert(mode).save(path)


def make(root, images, masks=None, img_dir='images', mask_dir='masks', size=(12, 10)):
    """A folder of images and one of masks."""
    for name in images:
        write(root / img_dir / name, size)
    for name in images if masks is None else masks:
        write(root / mask_dir / name, size, 255)
    return root


def write_published(cls, root, ids, layout=0, extension='.png', size=(12, 10)):
    """Files of the given ids in one of the layouts of a class."""
    layouts = cls.LAYOUTS[layout]
    for part in [layouts] if isinstance(layouts, Layout) else layouts:
        names = [i[len(part.prefix) :] for i in ids if i.startswith(part.prefix)]
        images, masks = (
            [f'{i}{suffixes[0]}{extension}' for i in names] for suffixes in (part.img_suffixes, part.mask_suffixes)
        )
        make(root, images, masks, part.img_dir, part.mask_dir, size)
    return root


def published(monkeypatch, cls, **lists):
    """Give a class small published lists ``small/PART``."""
    texts = {f'small/{part}': ids for part, ids in lists.items()}

    def load(dataset, split, others):
        assert dataset == cls.NAME
        return split, texts[split]

    monkeypatch.setattr('mmirstd.datasets.base.load_published', load)


# Ids as the sets have them.
IDS = {
    'NUAA-SIRST': [f'Misc_{i}' for i in range(1, 13)],
    'NUDT-SIRST': [f'{i:06d}' for i in range(1, 13)],
    'IRSTD-1k': [f'XDU{i}' for i in range(12)],
    SIRSTAugDataset.NAME: [f'{part}/{i:06d}' for part in ('trainval', 'test') for i in range(20)],
    MDFADataset.NAME: [f'training/{i:06d}' for i in range(20)] + [f'test/{i:05d}' for i in range(4)],
    'IRDST': [f'{sequence}/1({i})' for sequence in (1, 2, 41) for i in range(1, 13)],
    'SIRST-v2': [f'S20210527_S4_{i}' for i in range(12)],
    'NUDT-SIRST-Sea': [f'{scene:02d}-01-{i:02d}' for scene in range(1, 4) for i in range(1, 5)],
}
