"""Names of the files made for images: pictures, masks and predictions are all named by this one rule."""

import hashlib
import re
from collections import Counter
from collections.abc import Iterable
from pathlib import PurePosixPath
from typing import Any

from mmirstd.io.images import IMAGE_EXTENSIONS

# File systems take names of 255 bytes; '.png' goes behind.
_LONGEST = 251
_UNSAFE = re.compile(r'[<>:"|?*\x00-\x1f\x7f\ud800-\udfff]+')


def file_names(ids: Iterable[str]) -> list[str]:
    """Turn ids into relative file names without extension, no name twice.

    The name is the id, so that predictions and masks pair by name: a slash makes a folder. Characters that are not
    allowed in names everywhere (``<>:"|?*``, control characters, bytes that are no UTF-8) become ``_``, and what leads
    out of the folder goes. Where ids share a name, the position goes before it. The end of a name that is too long for
    a file system becomes a hash.

    >>> file_names(['Misc_1', '41/1(297)', '../b?', 'b_', 'b_'])
    ['Misc_1', '41/1(297)', '000002_b_', '000003_b_', '000004_b_']
    """
    names = [_safe_name(i) for i in ids]
    seen = Counter(names)
    taken = {name for name in names if seen[name] == 1}
    for i, name in enumerate(names):
        if seen[name] > 1:
            name = _shorten(f'{i:06d}_{name.replace("/", "_")}')
            while name in taken:
                name = _shorten(f'{i:06d}_{name}')
            names[i] = name
            taken.add(name)
    return names


def flat_name(name: str) -> str:
    """Turn a name from :func:`file_names` into one without folders, for writers that make none.

    It is short enough for what these put before and behind it.

    >>> flat_name('41/1(297)')
    '41_1(297)'
    """
    return _shorten(name.replace('/', '_'), 200)


def image_id(path: str) -> str:
    """Return the name of an image file without folder and image extension.

    >>> image_id('some/folder/a.b.png')
    'a.b'
    """
    name = PurePosixPath(path.replace('\\', '/')).name
    stem, _, extension = name.rpartition('.')
    return stem if stem and f'.{extension}'.lower() in IMAGE_EXTENSIONS else name


def sample_names(dataset: Any) -> dict[str, str]:
    """Map the ``img_path`` of every sample of an MMEngine dataset to a name, by `img_id` where there is one."""
    infos = [dataset.get_data_info(i) for i in range(len(dataset))]
    names = file_names(str(info.get('img_id') or image_id(info['img_path'])) for info in infos)
    return dict(zip((info['img_path'] for info in infos), names, strict=True))


def sample_files(dataset: Any) -> list[str]:
    """The files that an MMEngine dataset reads: image and mask of every sample."""
    infos = (dataset.get_data_info(i) for i in range(len(dataset)))
    return [info[key] for info in infos for key in ('img_path', 'seg_map_path') if isinstance(info.get(key), str)]


def _safe_name(img_id: str) -> str:
    parts = PurePosixPath(img_id.replace('\\', '/')).parts
    return '/'.join(_shorten(_UNSAFE.sub('_', p)) for p in parts if p not in ('..', '/')) or '_'


def _shorten(name: str, longest: int = _LONGEST) -> str:
    content = name.encode()
    if len(content) <= longest:
        return name
    return f'{content[: longest - 9].decode(errors="ignore")}_{hashlib.sha256(content).hexdigest()[:8]}'
