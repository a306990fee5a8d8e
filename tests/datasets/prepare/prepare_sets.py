"""Small sets in the layouts in which the real ones are published."""

import hashlib
import zipfile
from pathlib import Path

import cv2
import numpy as np

from mmirstd.datasets.prepare import SETS
from mmirstd.datasets.prepare.sets import layout_parts

SIZE = (8, 10)
# Ids of every set, few of each.
IDS = {
    'nuaa-sirst': [f'Misc_{i}' for i in range(1, 8)],
    'nudt-sirst': [f'{i:06d}' for i in range(1, 8)],
    'irstd-1k': [f'XDU{i}' for i in range(7)],
    'sirst-aug': [f'{part}/{i:06d}' for part in ('trainval', 'test') for i in range(5)],
    'mdfa': [f'training/{i:06d}' for i in (0, 1, 2, 3, 238, 239)] + [f'test/{i:05d}' for i in range(3)],
    'irdst': [f'{sequence}/1({i})' for sequence in (1, 41) for i in range(1, 4)],
    'sirst-v2': [f'S20210527_S4_{i}' for i in range(7)],
    'nudt-sirst-sea': [f'{scene:02d}-01-03' for scene in range(1, 8)],
    'folder': [f'frame_{i}' for i in range(10)],
}


def picture(name: str, size: tuple[int, int] = SIZE) -> np.ndarray:
    """An image of its own for every name."""
    seed = int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], 'big')
    return np.random.default_rng(seed).integers(0, 200, size, np.uint8)


def target(size: tuple[int, int] = SIZE, value: int = 255) -> np.ndarray:
    """A mask with one target."""
    mask = np.zeros(size, np.uint8)
    mask[2:4, 3:5] = value
    return mask


def save(path: Path, pixels: np.ndarray) -> Path:
    """Write an image of the kind that the name says."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(cv2.imencode(path.suffix, pixels)[1].tobytes())
    return path


def write_set(key: str, root: Path, ids: list[str] | None = None, layout: int = 0, extension: str = '.png') -> Path:
    """Write a set in one of the layouts that its class reads."""
    parts = layout_parts(SETS[key].dataset.LAYOUTS[layout])
    for i in IDS[key] if ids is None else ids:
        part = next(p for p in parts if i.startswith(p.prefix))
        stem = i[len(part.prefix) :]
        save(root / part.img_dir / f'{stem}{part.img_suffixes[0]}{extension}', picture(i))
        save(root / part.mask_dir / f'{stem}{part.mask_suffixes[0]}{extension}', target())
    return root


def zip_folder(folder: Path, archive: Path, top: str = '') -> Path:
    """Put what is in a folder into a zip file, below ``top``."""
    archive.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(archive, 'w', zipfile.ZIP_DEFLATED) as file:
        for path in sorted(folder.rglob('*')):
            file.write(path, Path(top) / path.relative_to(folder))
    return archive


def contents(folder: Path) -> dict[str, bytes]:
    """All files of a folder."""
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob('*')) if p.is_file()}
