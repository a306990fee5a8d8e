"""What is wrong or odd about a pair of files."""

import hashlib
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from mmirstd.datasets.prepare.layouts import SourcePair
from mmirstd.io.images import drop_alpha, read_header, read_image
from mmirstd.io.masks import mask_labels

ERROR, WARNING, NOTE = 'error', 'warning', 'note'

# What can be found, how bad it is, and what it means. An error keeps the pair from being used; a warning is about a
# pair that can be used and may not be what was meant; a note is what one should know.
KINDS = {
    'no-mask': (ERROR, 'images without a mask'),
    'ambiguous': (ERROR, 'two files for one id'),
    'unreadable': (ERROR, 'files that cannot be decoded completely'),
    'size-mismatch': (ERROR, 'masks that differ from their image in size'),
    'bad-mask': (ERROR, 'masks that tell no targets from background'),
    'not-listed-file': (ERROR, 'ids of splits without files'),
    'missing-part': (ERROR, 'parts of the set that are not there'),
    'no-image': (WARNING, 'masks without an image'),
    'count': (WARNING, 'another number than published'),
    'all-target': (WARNING, 'masks that are target all over'),
    'mostly-target': (WARNING, 'masks with more target than background (inverted?)'),
    'labels-01': (WARNING, 'masks with the values 0 and 1'),
    'not-binary': (WARNING, 'masks with values other than 0 and 255'),
    'duplicate': (WARNING, 'images with the same pixels as another'),
    'bad-list': (WARNING, 'text files, perhaps splits, that cannot be read and are not used'),
    'test-in-training': (WARNING, 'test images with the same pixels as a training image'),
    'known-mismatch': (NOTE, 'masks that are known to differ in size; the dataset class resizes them'),
    'known-corrupt': (NOTE, 'pairs that are known to be damaged as published, left out'),
    'empty-mask': (NOTE, 'masks without a target'),
    'mask-channels': (NOTE, 'masks with more than one channel'),
    'deep': (NOTE, 'images with more than 8 bits: see the options of LoadIRImage'),
    'alpha': (NOTE, 'images with an alpha channel, which is dropped when they are loaded'),
    'palette': (NOTE, 'palette images, read by their colors'),
    'extra': (NOTE, 'other files, not used'),
}


class FileFinding(NamedTuple):
    """One thing about one file: its kind, a key of ``KINDS``, the file, and details."""

    kind: str
    file: str
    detail: str = ''

    @property
    def level(self) -> str:
        """``'error'``, ``'warning'`` or ``'note'``."""
        return KINDS[self.kind][0]


class PairFacts(NamedTuple):
    """What is known of a pair after it was decoded; ``pixels`` is a hash of the image's size and values."""

    findings: list[FileFinding]
    size: tuple[int, int] | None = None
    mode: str = ''
    mask_mode: str = ''
    target_pixels: int = 0
    pixels: str = ''

    @property
    def usable(self) -> bool:
        """Whether nothing is an error."""
        return all(f.level != ERROR for f in self.findings)


def examine(pair: SourcePair, threshold: float = 127, known_mismatch: bool = False) -> PairFacts:
    """Decode both files of a pair completely, and look at what they hold.

    Args:
        pair: An image and a mask.
        threshold: That of ``LoadTargetMask``, by which target pixels are told.
        known_mismatch: Whether the published mask is known to have another size.
    """
    findings: list[FileFinding] = []
    image = _decode(pair.image, pair.image_to, findings)
    mask = _decode(pair.mask, pair.mask_to, findings)
    if image is None or mask is None:
        return PairFacts(findings)
    (pixels, mode), (values, mask_mode) = image, mask
    if pixels.dtype.kind == 'f' and (bad := pixels.size - np.count_nonzero(np.isfinite(pixels))):
        return PairFacts([*findings, FileFinding('unreadable', pair.image_to, f'{bad} values are NaN or infinite')])
    findings += _about_image(pair.image_to, pixels, mode)
    target, about_mask = _about_mask(pair.mask_to, values, threshold)
    findings += about_mask
    size, mask_size = pixels.shape[1::-1], values.shape[1::-1]
    if size != mask_size:
        detail = f'{mask_size[0]}x{mask_size[1]}, its image {size[0]}x{size[1]}'
        findings.append(FileFinding('known-mismatch' if known_mismatch else 'size-mismatch', pair.mask_to, detail))
    return PairFacts(findings, size, mode, mask_mode, target, hash_pixels(pixels))


def hash_pixels(image: np.ndarray) -> str:
    """Hash size and values; three equal channels count as one, and opaque alpha as none."""
    if image.ndim == 3:
        if image.shape[2] in (2, 4) and (image[..., -1] == opaque(image.dtype)).all():
            image = image[..., :-1]
        if (image == image[..., :1]).all():
            image = image[..., 0]
    header = f'{image.shape} {image.dtype}'.encode()
    return hashlib.sha256(header + np.ascontiguousarray(image).tobytes()).hexdigest()


def opaque(dtype: np.dtype) -> float:
    """The value of alpha that means opaque."""
    return np.iinfo(dtype).max if np.issubdtype(dtype, np.integer) else 1.0


def _decode(path: str, name: str, findings: list[FileFinding]) -> tuple[np.ndarray, str] | None:
    try:
        mode = read_header(path, verify=True).mode
        return read_image(path), mode
    except (ValueError, OSError) as error:
        reason = str(error).removeprefix(f'{path}: ')
        findings.append(FileFinding('unreadable', name, reason))
        return None


def _about_image(name: str, image: np.ndarray, mode: str) -> Iterator[FileFinding]:
    if image.dtype != np.uint8:
        yield FileFinding('deep', name, f'{image.dtype}, {image.min()} to {image.max()}')
    if image.ndim == 3 and image.shape[2] in (2, 4):
        alpha = image[..., -1]
        yield FileFinding(
            'alpha', name, 'opaque' if (alpha == opaque(image.dtype)).all() else f'{alpha.min()} to {alpha.max()}'
        )
    if mode == 'P':
        yield FileFinding('palette', name)


def _about_mask(name: str, mask: np.ndarray, threshold: float) -> tuple[int, list[FileFinding]]:
    """Number of target pixels, and what is to be said of the mask."""
    findings = []
    if mask.ndim == 3:
        findings.append(FileFinding('mask-channels', name, str(mask.shape[2])))
        mask = drop_alpha(mask)
    values = np.flatnonzero(np.bincount(mask.ravel())) if mask.dtype == np.uint8 else np.unique(mask)
    try:
        target = int(mask_labels(mask, threshold, name).sum())
    except ValueError as error:
        return 0, [*findings, FileFinding('bad-mask', name, str(error).removeprefix(f'{name}: ').split(';')[0])]
    if not set(values.tolist()) <= {0, 255}:
        kind = 'labels-01' if set(values.tolist()) <= {0, 1} else 'not-binary'
        findings.append(FileFinding(kind, name, f'values {list_values(values)}'))
    number = mask.shape[0] * mask.shape[1]
    if target == 0:
        findings.append(FileFinding('empty-mask', name))
    elif target == number:
        findings.append(FileFinding('all-target', name))
    elif 2 * target > number:
        findings.append(FileFinding('mostly-target', name, f'{100 * target / number:.1f} % target'))
    return target, findings


def list_values(values: np.ndarray, limit: int = 8) -> str:
    """Name the distinct values of a mask, in order; of many, the first ones and the last."""
    shown = [f'{v:g}' for v in values.tolist()]
    if len(shown) > limit:
        shown = [*shown[: limit - 1], '...', shown[-1]]
        return f'{", ".join(shown)} ({len(values)})'
    return ', '.join(shown)
