"""Checks of the files of a dataset: whether image and mask of every pair can be read and have one size."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from mmirstd.io.check_cache import VerifiedFiles
from mmirstd.io.images import Header, read_header
from mmirstd.utils.progress import progress_bar

Result = TypeVar('Result')
PROGRESS_AFTER = 2  # seconds


class BadPairError(ValueError):
    """A pair of files that cannot be used: ``reason`` is one of few, the message names the files."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


def read_pair(info: dict, backend_args: dict | None = None, verify: bool = False) -> tuple[Header, ...]:
    """Read the headers of ``img_path`` and, unless it is None, ``seg_map_path``.

    See :func:`~mmirstd.io.images.read_header`.

    Raises:
        BadPairError: If one of them cannot be read.
    """
    headers = []
    for kind, key in (('image', 'img_path'), ('mask', 'seg_map_path')):
        if info[key] is None:
            continue
        try:
            headers.append(read_header(info[key], backend_args, verify))
        except ValueError as error:
            raise BadPairError(f'unreadable {kind}', str(error)) from error
    return tuple(headers)


def inspect_pair(info: dict, backend_args: dict | None = None, verify: bool = True) -> Header:
    """Compare the sizes of a pair, and return the header of its image.

    Raises:
        BadPairError: If a file cannot be read, or the sizes differ and ``info['mask_resize']`` does not allow it.
    """
    image, *masks = read_pair(info, backend_args, verify)
    if any(mask[:2] != image[:2] for mask in masks) and not info['mask_resize']:
        (mask,) = masks
        message = f'sizes differ: {info["img_path"]} is {size_text(image)}, {info["seg_map_path"]} is {size_text(mask)}'
        raise BadPairError('different sizes', message)
    return image


def inspect_pairs(infos: Sequence[dict], backend_args: dict | None = None, verify: bool = True) -> list[Header]:
    """As :func:`inspect_pair`, many of them in threads, with a progress bar where it takes long.

    Local files that were verified before and are unchanged are not verified again, see :mod:`mmirstd.io.check_cache`.
    """
    return _inspect_pairs(inspect_pair, infos, backend_args, verify)


def find_faults(infos: Sequence[dict], backend_args: dict | None = None) -> list[BadPairError | None]:
    """Verify many pairs as :func:`inspect_pairs` does; what is wrong with each, or None."""

    def fault(info: dict, backend_args: dict | None, verify: bool) -> BadPairError | None:
        try:
            inspect_pair(info, backend_args, verify)
        except BadPairError as error:
            return error
        except OSError as error:
            return BadPairError('unreadable file', str(error))
        return None

    return _inspect_pairs(fault, infos, backend_args, verify=True)


def _inspect_pairs(
    inspect: Callable[..., Result], infos: Sequence[dict], backend_args: dict | None, verify: bool
) -> list[Result]:
    """Map in threads, since files are waited for."""
    pairs = [[path for path in (info['img_path'], info['seg_map_path']) if path is not None] for info in infos]
    known = VerifiedFiles([path for pair in pairs for path in pair] if verify and backend_args is None else [])

    def one(info: dict, pair: list[str]) -> Result:
        return inspect(info, backend_args, verify and not all(path in known for path in pair))

    with ThreadPoolExecutor(8) as pool:
        found = pool.map(one, infos, pairs)
        results = list(progress_bar(found, 'checking files', len(infos), delay=PROGRESS_AFTER))
    if verify and backend_args is None:
        good = (pair for pair, result in zip(pairs, results, strict=True) if not isinstance(result, BadPairError))
        known.add(path for pair in good for path in pair)
    return results


def size_text(header: Header) -> str:
    """Width and height, as messages have them."""
    return f'{header.width}x{header.height}'
