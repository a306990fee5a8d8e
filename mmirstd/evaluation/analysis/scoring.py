"""Saved predictions to counts: reads the files of each image once, and counts them under every protocol."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np

from mmirstd.evaluation.analysis.breakdowns import ImageRecord, record_of
from mmirstd.evaluation.analysis.pairing import FilePair
from mmirstd.evaluation.analysis.predictions import read_prediction
from mmirstd.evaluation.functional.counts import Counts, count_image
from mmirstd.evaluation.functional.evaluated_image import EvaluatedImage
from mmirstd.evaluation.functional.protocols import PRESETS, Protocol
from mmirstd.evaluation.functional.sweeps import ComponentSweep, PixelSweep, component_sweep, pixel_sweep, sum_sweeps
from mmirstd.io.images import drop_alpha, read_image
from mmirstd.io.masks import DEFAULT_RULE, MaskRule, read_mask
from mmirstd.ops.resizing import resize_nearest
from mmirstd.utils.errors import UserError
from mmirstd.utils.workers import map_in_processes

_SUM_AFTER = 256  # images whose sweeps are kept before they are added up


class ScoringError(UserError, ValueError):
    """A file that cannot be evaluated."""


class PairContent(NamedTuple):
    """What the files of one image hold.

    Attributes:
        prediction: (H, W) probabilities.
        values: Of the mask file, of any size.
        ignored: Pixels of the mask file that count nowhere, bool; None: there are none.
        mask: (H, W) bool, targets at the size of the prediction.
        ignore: (H, W) bool, ignored pixels at the size of the prediction; None: there are none.
        image: (H, W) or (H, W, 3) BGR at the size of the prediction; None: not asked for, or there is none.
    """

    prediction: np.ndarray
    values: np.ndarray
    ignored: np.ndarray | None
    mask: np.ndarray
    ignore: np.ndarray | None
    image: np.ndarray | None


class ScoredImage(NamedTuple):
    """What is kept of one image: the counts of each protocol, its targets and false components, its sweeps."""

    counts: list[Counts]
    record: ImageRecord
    sweeps: tuple[PixelSweep, ComponentSweep] | None


class ScoredSet(NamedTuple):
    """What is kept of a set: of each image the counts of each protocol and its record, and the sum of the sweeps."""

    counts: list[list[Counts]]
    records: list[ImageRecord]
    sweeps: tuple[PixelSweep, ComponentSweep] | None


@dataclass(frozen=True, kw_only=True)
class PairReader:
    """Reads the files of one image.

    Attributes:
        labels: The values of predictions that are images are 0 and 1, not 0 to 255.
        key: Name of the array in ``.npz`` and ``.mat`` files.
        rule: What in a mask is target.
    """

    labels: bool = False
    key: str | None = None
    rule: MaskRule = DEFAULT_RULE

    def read(self, pair: FilePair, *, with_image: bool) -> PairContent:
        """Read them; a missing prediction is empty."""
        values, ignored = read_mask(pair.mask, self.rule)
        if pair.prediction is None:
            prediction = np.zeros(values.shape, np.float32)
        else:
            prediction = read_prediction(pair.prediction, labels=self.labels, key=self.key)
        shape, way = prediction.shape, PRESETS['exact'].mask_interpolation
        mask = resize_nearest(values, shape, way) >= 128
        ignore = None if ignored is None else resize_nearest(ignored, shape, way)
        if not with_image or pair.image is None:
            return PairContent(prediction, values, ignored, mask, ignore, None)
        image = drop_alpha(read_image(pair.image))
        if image.shape[:2] != prediction.shape:
            image = cv2.resize(image, prediction.shape[::-1], interpolation=cv2.INTER_AREA)
        return PairContent(prediction, values, ignored, mask, ignore, image)


def score_pairs(
    pairs: Sequence[FilePair],
    protocols: Sequence[Protocol],
    *,
    reader: PairReader,
    rule: Protocol,
    thresholds: np.ndarray | None = None,
    scr: bool = False,
    workers: int = 2,
) -> ScoredSet:
    """Count the predictions of a set under every protocol, with a progress bar.

    Args:
        pairs: Files of each image.
        protocols: Each gives counts.
        reader: Reads the files.
        rule: ``exact``, changed or not: records and sweeps follow its threshold, distance and connectivity.
        thresholds: (K,) of the sweeps; None: no sweeps.
        scr: Whether records hold the targets' signal-to-clutter ratios, where there are images.
        workers: Number of processes.

    Raises:
        ScoringError: If a file cannot be evaluated; the message names it.
    """
    scorer = _Scorer(list(protocols), reader, rule, thresholds, scr)
    scored, sweeps = ScoredSet([], [], None), []
    for item in map_in_processes(scorer, pairs, workers, 'scoring', ScoringError):
        scored.counts.append(item.counts)
        scored.records.append(item.record)
        if item.sweeps:
            sweeps.append(item.sweeps)
        if len(sweeps) == _SUM_AFTER:
            sweeps = [_sum(sweeps)]
    return scored._replace(sweeps=_sum(sweeps) if sweeps else None)


class _Scorer(NamedTuple):
    """Scores a pair of files; the arguments are those of :func:`score_pairs`."""

    protocols: list[Protocol]
    reader: PairReader
    rule: Protocol
    thresholds: np.ndarray | None
    scr: bool

    def __call__(self, pair: FilePair) -> ScoredImage:
        try:
            content = self.reader.read(pair, with_image=self.scr)
        except ValueError as error:  # it names the file
            raise ScoringError(str(error)) from error
        try:
            evaluated = EvaluatedImage(content.prediction, content.values, content.ignored)
            counts = [count_image(evaluated, protocol) for protocol in self.protocols]
            record = record_of(evaluated, self.rule, img_id=pair.img_id, image=content.image)
        except ValueError as error:
            raise ScoringError(f'{pair.img_id}: {error}') from error
        if self.thresholds is None:
            return ScoredImage(counts, record, None)
        matching = {'ignore': content.ignore, 'distance': self.rule.distance, 'connectivity': self.rule.connectivity}
        sweeps = (
            pixel_sweep(content.prediction, content.mask, self.thresholds, ignore=content.ignore),
            component_sweep(content.prediction, content.mask, self.thresholds, **matching),
        )
        return ScoredImage(counts, record, sweeps)


def _sum(sweeps: Sequence[tuple[PixelSweep, ComponentSweep]]) -> tuple[PixelSweep, ComponentSweep]:
    pixels, components = zip(*sweeps, strict=True)
    return sum_sweeps(pixels), sum_sweeps(components)
