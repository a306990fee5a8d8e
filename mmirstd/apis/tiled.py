"""Images that are too large for a network at once: the steps of the inferencer, tile by tile."""

import os
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from mmcv.transforms import Compose
from mmengine.config import Config
from mmengine.logging import print_log

from mmirstd.datasets.transforms.loading import LoadIRImage, check_image_array
from mmirstd.engine.value_checks import check_value
from mmirstd.io.bands import ImageBands
from mmirstd.io.images import drop_alpha, read_header
from mmirstd.ops.components import Connectivity
from mmirstd.ops.detections import Detections, detect_pixels
from mmirstd.ops.tiles import Tiling, predict_bands
from mmirstd.utils.errors import ArgumentError
from mmirstd.utils.progress import progress_bar

DEFAULT_TILE = 1024  # of models whose config has no `model.test_cfg.tile`
# More pixels above the threshold are no small targets, and each takes some 50 bytes.
MAX_TARGET_PIXELS = 2**24


def whole_pixels(tile: int) -> int:
    """Pixels of the largest image that goes through a network at once, where the user says nothing."""
    return (3 * tile // 2) ** 2


AUTOMATIC_PIXELS = whole_pixels(DEFAULT_TILE)


def usual_tile(cfg: Config) -> int:
    """The tile of a config's model where the user asks for none: ``model.test_cfg.tile``.

    Raises:
        ConfigValueError: If it is no whole number from 64 on.
    """
    model = cfg.model.get('module', cfg.model)  # what test-time augmentation wraps
    tile = (model.get('test_cfg') or {}).get('tile')
    check_value('model.test_cfg.tile', tile)
    return DEFAULT_TILE if tile is None else tile


def tiling_of(tile: int | None, overlap: int | None, usual: int = DEFAULT_TILE) -> Tiling:
    """Return how images are cut, as a user asks for it; see :class:`mmirstd.apis.IRSTDInferencer`.

    Args:
        tile: Longest side of a tile.
        overlap: Pixels that neighboring tiles share.
        usual: The tile where none is asked for.

    Raises:
        ArgumentError: If there is no room for such tiles.
    """
    for name, value in (('tiles', tile), ('overlaps', overlap)):
        if value is not None and (not isinstance(value, int) or value < 0):
            raise ArgumentError(f'{name} have a positive number of pixels, or 0 for none; got {value!r}')
    if tile == 0 and overlap is not None:
        raise ArgumentError(f'an overlap of {overlap} pixels is of tiles, and a tile of 0 cuts none')
    size = tile or usual
    try:
        return Tiling(size, size // 4 if overlap is None else overlap)
    except ArgumentError as e:
        whose = '' if tile else f'; {size} is the tile of the model, and `--tile` changes it'
        raise ArgumentError(f'{e}{whose}') from None


def is_large(sample: Mapping[str, Any], tile: int | None, usual: int = DEFAULT_TILE) -> bool:
    """Whether an image goes through the network by tiles; see :class:`mmirstd.apis.IRSTDInferencer` for `tile`.

    Args:
        sample: From :func:`mmirstd.io.inputs.list_images`.
        tile: Longest side of a tile, as the user asks for it.
        usual: The tile where none is asked for.

    Raises:
        OSError: If the file cannot be read.
        ValueError: If it is no readable image; the message names it.
    """
    if tile == 0:
        return False
    if isinstance(sample.get('img'), np.ndarray):
        height, width = (*sample['img'].shape, 0, 0)[:2]
    elif os.path.isfile(sample['img_path']):
        height, width = read_header(sample['img_path'])[1::-1]
    else:  # an address: it would be fetched twice
        return False
    return height * width > whole_pixels(usual) if tile is None else max(height, width) > tile


class LargeImage:
    """An image of an inferencer that is loaded by bands, with the gray levels that the whole of it has.

    Args:
        source: Path or array.
        name: Of the image.
        pipeline: Of the inferencer; it begins with the loading of the image.
        rows: Number of rows of a band, for what is measured over the whole image.
        standardize: Whether the model needs mean and standard deviation of the image.

    Attributes:
        shape: (H, W).
        image: (H, W, 1) or (H, W, 3) as it is loaded, in BGR order, as far as it was read.

    Raises:
        OSError: If the file cannot be read.
        ValueError: If it is no readable image, or its levels are no numbers; the message names it.
    """

    def __init__(
        self, source: str | np.ndarray, name: str, pipeline: Compose, rows: int, standardize: bool = False
    ) -> None:
        load, self._prepare = pipeline.transforms[0], Compose(pipeline.transforms[1:])
        self._source, self._name, self._load, self._levels = source, name, None, None
        self.image: np.ndarray | None = None
        if isinstance(source, np.ndarray):
            check_image_array(source, 'the image')
        if isinstance(load, LoadIRImage):
            self._load, self._bands = load, ImageBands(source, load.backend_args)
        else:  # MMSegmentation's loaders know no parts
            key = 'img_path' if isinstance(source, str) else 'img'
            self._bands = ImageBands(load({key: source})['img'])
        self.shape: tuple[int, int] = self._bands.shape
        reason = self._bands.whole_reason
        if reason and isinstance(source, str) and self.shape[0] * self.shape[1] > AUTOMATIC_PIXELS:
            print_log(f'{source} is read whole ({reason}); TIFF in strips or tiles needs less memory', 'current')
        self._tops = range(0, self.shape[0], rows)
        path = source if isinstance(source, str) else 'the image'
        if self._load is not None and (self._bands.dtype != np.uint8 or self._load.normalize_8bit):
            parts = (self._bands.rows(top, min(top + rows, self.shape[0])) for top in self._tops)
            self._levels = self._load.find_levels(parts, path)
        self._standardization = self._measure() if standardize else None

    def rows(self, top: int, bottom: int) -> np.ndarray:
        """Load rows as the pipeline loads an image, (h, W, C), and keep them in :attr:`image`."""
        band = self._loaded(top, bottom)
        if self.image is None:
            self.image = np.zeros((*self.shape, band.shape[2] if self._is_color else 1), band.dtype)
        self.image[top:bottom] = band[..., : self.image.shape[2]]
        return band

    def pack(self, window: np.ndarray) -> dict[str, Any]:
        """Make of a window what the pipeline makes of an image, ready for the network."""
        path = self._source if isinstance(self._source, str) else None
        size = window.shape[:2]
        packed = self._prepare(
            {'img': window, 'img_path': path, 'img_id': self._name, 'img_shape': size, 'ori_shape': size}
        )
        if self._standardization is not None:
            samples = packed['data_samples']
            for sample in samples if isinstance(samples, list) else [samples]:
                sample.set_metainfo({'standardization': self._standardization})
        return packed | {'name': self._name, 'source': path or self._name}

    def _loaded(self, top: int, bottom: int) -> np.ndarray:
        band = drop_alpha(self._bands.rows(top, bottom))
        self._is_color = band.ndim == 3 and band.shape[2] == 3
        if self._load is None:
            return band if band.ndim == 3 else band[..., None]
        levels = {} if self._levels is None else {'levels': self._levels}
        return self._load({'img': band, 'img_path': self._name} | levels)['img']

    def _measure(self) -> tuple[float, float]:
        """Mean and standard deviation over all pixels and channels."""
        number, total, squares = 0, 0.0, 0.0
        for top in self._tops:
            band = self._loaded(top, min(top + self._tops.step, self.shape[0])).astype(np.float64)
            number, total, squares = number + band.size, total + band.sum(), squares + np.square(band).sum()
        mean = total / number
        return mean, float(np.sqrt(max(squares / number - mean**2, 0)))


def detect_by_tiles(
    large: LargeImage,
    name: str,
    predict: Callable[[Mapping[str, Any]], np.ndarray],
    tiling: Tiling,
    *,
    threshold: float,
    connectivity: Connectivity = 8,
    min_area: int = 1,
    keep_probability: bool = True,
    show_progress: bool = True,
) -> Detections:
    """Find the targets of a large image: those of its whole probability map, whatever the tiles are.

    Args:
        large: The image.
        name: Its name.
        predict: Returns the probabilities (h, w) of a packed window.
        tiling: How the image is cut.
        threshold: A pixel is target when its probability is above.
        connectivity: 4 or 8 neighbors make a target.
        min_area: Targets of fewer pixels are left out.
        keep_probability: Whether the detections hold the probability map, 4 bytes for each pixel.
        show_progress: Show a progress bar where stderr is a terminal.

    Raises:
        ValueError: If more than 2**24 pixels are above the threshold.
    """
    height, width = large.shape
    kept = np.empty(large.shape, np.float32) if keep_probability else None
    flat, values, number = [], [], 0
    tiles = len(tiling.spans(height)) * len(tiling.spans(width))
    with progress_bar(description=name, total=tiles, unit='tile', disable=not show_progress) as bar:

        def run(window: np.ndarray) -> np.ndarray:
            probability = predict(large.pack(window))
            bar.update()
            return probability

        for top, band in predict_bands(large.rows, large.shape, run, tiling):
            if kept is not None:
                kept[top : top + len(band)] = band
            found = np.flatnonzero(band > threshold)
            flat.append(found + top * width)
            values.append(band.ravel()[found])
            number += found.size
            if number > MAX_TARGET_PIXELS:
                raise ValueError(
                    f'{name}: more than {MAX_TARGET_PIXELS} pixels are above the threshold of {threshold}: these are '
                    'no small targets; choose a higher threshold'
                )
    return detect_pixels(
        np.concatenate(flat),
        np.concatenate(values),
        large.shape,
        large.image,
        threshold=threshold,
        connectivity=connectivity,
        min_area=min_area,
        name=name,
        probability=kept,
    )
