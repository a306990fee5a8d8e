"""Checks of the files of a dataset: whether image and mask of a pair can be read, have one size, and hold something."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple, TypeVar

import numpy as np

from mmirstd.io.check_cache import VerifiedFiles
from mmirstd.io.images import Header, drop_alpha, read_header, read_verified, refuse_non_finite
from mmirstd.io.mask_content import MaskContent, mask_content
from mmirstd.utils.errors import UserError
from mmirstd.utils.progress import progress_bar

Result = TypeVar('Result')
PROGRESS_AFTER = 2  # seconds
_CHANNELS = ('blue', 'green', 'red')


class BadPairError(UserError, ValueError):
    """A pair of files that cannot be used: ``reason`` is one of few, the message names the files."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class InspectedPair(NamedTuple):
    """The header of an image, whether all its pixels are alike, and what its mask holds; None: there is none."""

    header: Header
    blank: bool
    mask: MaskContent | None


def read_pair(info: dict, backend_args: dict | None = None) -> tuple[Header, ...]:
    """Read the headers of ``img_path`` and, unless it is None, ``seg_map_path``.

    Raises:
        BadPairError: If one of them cannot be read.
    """
    return tuple(_guarded(f'unreadable {kind}', read_header, path, backend_args) for kind, path in _files(info))


def inspect_pair(info: dict, backend_args: dict | None = None, known: VerifiedFiles | None = None) -> InspectedPair:
    """Compare the sizes of a pair, and look at what its files hold.

    Raises:
        BadPairError: If a file cannot be read, an image has values that are no numbers or a color that is empty, or the
            sizes differ and ``info['mask_resize']`` does not allow it.
    """
    found = {}
    for kind, path in _files(info):
        if known is not None and kind in (content := known.found(path)):
            header = _guarded(f'unreadable {kind}', read_header, path, backend_args)
            found[kind] = header, MaskContent.of_plain(content[kind]) if kind == 'mask' else content[kind]
        else:
            header, pixels = _guarded(f'unreadable {kind}', read_verified, path, backend_args)
            look = mask_content if kind == 'mask' else _refuse_empty_channels
            found[kind] = header, _guarded(f'unclear {kind}', look, pixels, path)
    image, blank = found['image']
    mask, content = found.get('mask', (image, None))
    if mask[:2] != image[:2] and not info['mask_resize']:
        message = f'sizes differ: {info["img_path"]} is {size_text(image)}, {info["seg_map_path"]} is {size_text(mask)}'
        raise BadPairError('different sizes', message)
    return InspectedPair(image, blank, content)


def inspect_pairs(
    infos: Sequence[dict], backend_args: dict | None = None, *, skip: bool = False
) -> list[InspectedPair | BadPairError]:
    """As :func:`inspect_pair`, many of them in threads, with a progress bar where it takes long.

    Local files that were verified before and are unchanged are not decoded again, see :mod:`mmirstd.io.check_cache`.
    With ``skip``, what is wrong with a pair stands in its place.
    """
    known = VerifiedFiles([path for info in infos for _, path in _files(info)] if backend_args is None else [])

    def inspect(info: dict) -> InspectedPair | BadPairError:
        try:
            return inspect_pair(info, backend_args, known)
        except (BadPairError, OSError) as error:
            if not skip:
                raise
            return error if isinstance(error, BadPairError) else BadPairError('unreadable file', str(error))

    with ThreadPoolExecutor(8) as pool:  # files are waited for
        pairs = list(progress_bar(pool.map(inspect, infos), 'checking files', len(infos), delay=PROGRESS_AFTER))
    if backend_args is None:
        good = [(info, pair) for info, pair in zip(infos, pairs, strict=True) if isinstance(pair, InspectedPair)]
        images = {info['img_path']: {'image': pair.blank} for info, pair in good}
        known.add(images | {info['seg_map_path']: {'mask': pair.mask.as_plain()} for info, pair in good if pair.mask})
    return pairs


def size_text(header: Header) -> str:
    """Width and height, as messages have them."""
    return f'{header.width}x{header.height}'


def _files(info: dict) -> list[tuple[str, str]]:
    files = [('image', info['img_path']), ('mask', info['seg_map_path'])]
    return [(kind, path) for kind, path in files if path is not None]


def _guarded(reason: str, function: Callable[..., Result], *arguments: Any) -> Result:
    try:
        return function(*arguments)
    except BadPairError:
        raise
    except ValueError as error:
        raise BadPairError(reason, str(error)) from error


def _refuse_empty_channels(pixels: np.ndarray, source: str) -> bool:
    """Whether all pixels of an image are alike; one that has both empty and other colors is an error."""
    refuse_non_finite(pixels, source)
    pixels = drop_alpha(pixels)
    first = pixels[0, 0]
    alike = (pixels[::8, ::8] == first).all(axis=(0, 1))
    if alike.any():  # a sample decides most cases
        alike = (pixels == first).all(axis=(0, 1))
    if alike.any() and not alike.all():
        empty = ' and '.join(f'{_CHANNELS[i]} (all {first[i]:g})' for i in np.flatnonzero(alike))
        raise BadPairError(
            'empty channel',
            f'{source}: a channel holds nothing: {empty}; save the image in gray or with all its colors',
        )
    return bool(alike.all())
