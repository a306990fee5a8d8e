"""How published code evaluates: every choice that changes a metric, as one value, and the choices of each repository.

A protocol says what becomes of a probability map and of the values of a mask file until there are counts and metrics;
:mod:`mmirstd.evaluation.functional.counts` carries it out. docs/concepts/protocols.md has the reasons.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from types import MappingProxyType
from typing import Literal, get_args, get_origin

from mmirstd.ops.components import Connectivity
from mmirstd.utils.errors import UserError

EmptyPolicy = Literal['skip', 0, 1]
Size = int | tuple[int, int] | None
MaskInterpolation = Literal['pillow-nearest', 'opencv-nearest']
PredInterpolation = Literal['opencv-linear', 'pillow-bilinear', MaskInterpolation]
Mismatch = Literal['error', 'resize', 'crop']
MaskRule = Literal['255', '>=128', '>0', 'max', 'file-max']
IoUMaskRule = Literal[MaskRule, 'mixed']
Matching = Literal['greedy', 'nearest', 'hungarian', 'overlap']
FalseArea = Literal['exact', 'legacy', 'outside']
FaDenominator = Literal['pixels', 'last', 'background'] | int

METRIC_NAMES = ('IoU', 'nIoU', 'Pd', 'Fa', 'precision', 'recall', 'F1', 'AUC')
_SPACING = 2.0**-52  # numpy.spacing(1), which published code adds to denominators: makes 0 of 0 / 0, and nothing else


class ProtocolError(UserError, ValueError):
    """A protocol that does not exist, or a setting that it cannot have."""


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """Everything in which evaluations differ. The defaults are those of ``exact``.

    Attributes:
        name: Unique among the protocols that are used together.
        threshold: A pixel is positive where its probability is above it, strictly; in [0, 1).
        normalize: Divide the (resized) map by its largest value first; a map of zeros stays one.
        size: Height and width (one number: a square) at which everything is counted; None: as the prediction is.
        pred_interpolation: How a prediction of another size is brought to `size`, as a map of probabilities.
        mask_interpolation: How a mask is brought to `size`, or to the size of the prediction.
        mismatch: Where prediction and mask differ in size, and the prediction is not at `size` already: an error; each
            is resized from its own size (the mask alone, to the prediction's, if `size` is None); or both are cropped
            to the top left part they have in common, as code does that pads an image and crops what comes out.
        iou_mask: Which values v of an 8-bit mask are target for IoU: those that are 255, at least 128, above 0, equal
            to the maximum (of the mask as evaluated), or to the maximum of the file before resizing. ``'mixed'``: for
            the intersection v == 255, for the area v >= 128 (in dnanet and its descendants a float mask meets
            ``numpy.histogram``), so that the union is |P| + |v >= 128| - |P and v == 255|.
        niou_mask: The same for nIoU.
        target_mask: Which values make the targets of Pd and Fa.
        f1_mask: Which positive pixels are hits for precision, recall and F1.
        missed_mask: Which of the other pixels are missed, for recall and F1.
        matching: How targets and components are matched, see :mod:`mmirstd.evaluation.functional.matching`.
        distance: Centroids nearer than this, strictly, can match; in pixels at the evaluated size.
        connectivity: 4 or 8 neighbors make a component.
        fa: The false area of an image is the pixels of unmatched components (``'exact'``); the same without
            those that are as large as any matched component of the image (``'legacy'``: published code that
            finds the matched ones by area); or all positive pixels outside targets (``'outside'``).
        fa_denominator: What false area is divided by: all pixels; the last image's pixels times the number
            of images; pixels outside targets; or a number of pixels per image.
        niou_empty: What an image with neither target nor prediction adds to nIoU: nothing, 0 or 1.
        skip_empty: Leave images without target out of Pd, Fa and AUC, with their false alarms.
        iou_eps: Added to the union; with 0 an IoU of 0 / 0 is nan.
        ratio_eps: Added to the denominators of precision and recall; with 0 one of 0 / 0 is nan.
        f1_eps: Added to precision + recall in the denominator of F1.
        auc_bins: Number n of steps of the thresholds k / n at which the area under the Pd-Fa curve is taken (value at
            or above, false area ``'outside'``, matching ``'overlap'``); None: no AUC.
        reported: Names of the metrics that the repository reports; all are computed.
        source: Repository and commit.

    Raises:
        ProtocolError: If a value is not allowed; the message names the field.
    """

    name: str
    threshold: float = 0.5
    normalize: bool = False
    size: Size = None
    pred_interpolation: PredInterpolation = 'opencv-linear'
    mask_interpolation: MaskInterpolation = 'pillow-nearest'
    mismatch: Mismatch = 'error'
    iou_mask: IoUMaskRule = '>=128'
    niou_mask: IoUMaskRule = '>=128'
    target_mask: MaskRule = '>=128'
    f1_mask: MaskRule = '>=128'
    missed_mask: MaskRule = '>=128'
    matching: Matching = 'greedy'
    distance: float = 3.0
    connectivity: Connectivity = 8
    fa: FalseArea = 'exact'
    fa_denominator: FaDenominator = 'pixels'
    niou_empty: EmptyPolicy = 'skip'
    skip_empty: bool = False
    iou_eps: float = 0.0
    ratio_eps: float = 0.0
    f1_eps: float = 0.0
    auc_bins: int | None = None
    reported: tuple[str, ...] = METRIC_NAMES[:-1]
    source: str = ''

    def __post_init__(self) -> None:
        if isinstance(self.size, list):  # from JSON and configs
            object.__setattr__(self, 'size', tuple(self.size))
        if isinstance(self.reported, list):
            object.__setattr__(self, 'reported', tuple(self.reported))
        sides = self.size if isinstance(self.size, tuple) else (self.size, self.size)
        checks = {
            'name': (isinstance(self.name, str) and self.name, 'a text that is not empty'),
            'threshold': (_is_number(self.threshold) and 0 <= self.threshold < 1, 'a number in [0, 1)'),
            'normalize': (isinstance(self.normalize, bool), 'a bool'),
            'size': (
                self.size is None or (len(sides) == 2 and all(_is_count(n) for n in sides)),
                'None, a positive integer or two (height, width)',
            ),
            'distance': (_is_number(self.distance) and self.distance > 0, 'a positive number'),
            'fa_denominator': (
                self.fa_denominator in ('pixels', 'last', 'background') or _is_count(self.fa_denominator),
                "'pixels', 'last', 'background' or a positive integer",
            ),
            'skip_empty': (isinstance(self.skip_empty, bool), 'a bool'),
            'auc_bins': (self.auc_bins is None or _is_count(self.auc_bins), 'None or a positive integer'),
            'reported': (
                isinstance(self.reported, tuple) and set(self.reported) <= set(METRIC_NAMES),
                f'names out of {", ".join(METRIC_NAMES)}',
            ),
            'source': (isinstance(self.source, str), 'a text'),
        }
        for eps in ('iou_eps', 'ratio_eps', 'f1_eps'):
            value = getattr(self, eps)
            checks[eps] = (_is_number(value) and 0 <= value < float('inf'), 'a number that is not negative')
        for field, choices in _CHOICES.items():
            value = getattr(self, field)
            allowed = isinstance(value, str | int) and not isinstance(value, bool) and value in choices
            checks[field] = (allowed, ', '.join(map(repr, choices)))
        for field, (fine, wanted) in checks.items():
            if not fine:
                raise ProtocolError(f'protocol {self.name!r}: {field} must be {wanted}, not {getattr(self, field)!r}')

    @property
    def shape(self) -> tuple[int, int] | None:
        """`size` as (height, width)."""
        return self.size if self.size is None or isinstance(self.size, tuple) else (self.size, self.size)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


_CHOICES = {field.name: get_args(field.type) for field in fields(Protocol) if get_origin(field.type) is Literal}


def _published(
    name: str, source: str, reported: str, target_mask: MaskRule = '255', **settings: object
) -> tuple[str, Protocol]:
    """A protocol with what nearly all published code shares: legacy Fa, an IoU of 0 for 0 / 0, counted in nIoU."""
    common = {
        'mismatch': 'resize',
        'fa': 'legacy',
        'niou_empty': 0,
        'iou_eps': _SPACING,
        'target_mask': target_mask,
        'f1_mask': target_mask,
        'missed_mask': target_mask,
        'iou_mask': target_mask,
        'niou_mask': target_mask,
    }
    return name, Protocol(name=name, source=source, reported=tuple(reported.split()), **{**common, **settings})


# Precision and recall of dnanet's ROCMetric: hits have v == 255, but whatever is not 0 can be missed.
_ROC = {'ratio_eps': 0.001, 'missed_mask': '>0'}
_DNANET = {**_ROC, 'iou_mask': 'mixed', 'size': 256}

PRESETS: Mapping[str, Protocol] = MappingProxyType(
    dict(
        [
            # As LoadTargetMask reads and resizes masks; the default of compute_metrics.
            ('exact', Protocol(name='exact', mismatch='resize')),
            _published('acm', 'YimianDai/open-acm@95e0aec6f369', 'IoU nIoU', size=512),
            _published(
                'dnanet',
                'YeRen123455/Infrared-Small-Target-Detection@21584be00d19',
                'IoU Pd Fa precision recall',
                **_DNANET,
            ),
            _published('mshnet', 'ying-fu/MSHNet@46cdfd468026', 'IoU Pd Fa', **_DNANET),
            _published('irsam', 'IPIC-Lab/IRSAM@ec65744f582f', 'IoU nIoU Pd Fa', size=512, fa_denominator=512 * 512),
            _published(
                'simir',
                'O937-blip/SimIR@47172b1b5cde',
                'IoU Pd Fa precision recall',
                target_mask='>0',
                size=256,
                fa_denominator='last',
                **_ROC,
            ),
            _published(
                'sctransnet',
                'xdFai/SCTransNet@e0276283794e',
                'IoU nIoU Pd Fa F1',
                mismatch='crop',
                iou_mask='mixed',
                f1_eps=0.00001,
                **_ROC,
            ),
            _published(
                'basicirstd',
                'XinyiYing/BasicIRSTD@95650c3970da',
                'IoU Pd Fa',
                mismatch='crop',
                iou_mask='mixed',
                fa='exact',
            ),
            _published(
                'rpcanet',
                'fengyiwu98/RPCANet@25da0805b2a6',
                'IoU precision recall F1 Pd Fa AUC',
                target_mask='file-max',
                normalize=True,
                size=256,
                mask_interpolation='opencv-nearest',
                iou_mask='max',
                niou_mask='max',
                f1_mask='max',
                missed_mask='max',
                matching='overlap',
                fa='outside',
                fa_denominator='background',
                skip_empty=True,
                ratio_eps=_SPACING,
                f1_eps=_SPACING,
                auc_bins=200,
            ),
        ]
    )
)

ProtocolLike = str | Protocol | Mapping[str, object]


def get_protocol(protocol: ProtocolLike, **changes: object) -> Protocol:
    """Make a protocol of a preset's name, of a protocol (returned as it is), or of a dict of fields.

    A dict may name a `preset` that it changes: ``dict(preset='dnanet', threshold=0.4)``. Without `name` it is then
    called by what it changes, ``dnanet(threshold=0.4)``; without `preset` it starts from the defaults and needs one.
    `changes` are fields to change in the same way.

    Raises:
        ProtocolError: If there is no such preset or field, or a value is not allowed.
        TypeError: If it is none of these.

    >>> get_protocol('dnanet', threshold=0.4).name
    'dnanet(threshold=0.4)'
    """
    if changes:
        return _changed(get_protocol(protocol), changes)
    if isinstance(protocol, Protocol):
        return protocol
    if isinstance(protocol, str):
        return _preset(protocol)
    if not isinstance(protocol, Mapping):
        raise TypeError(f'a protocol is a name, a Protocol or a dict, not {protocol!r}')
    settings = dict(protocol)
    base = settings.pop('preset', None)
    if base is None:
        _refuse_unknown(settings)
        if 'name' not in settings:
            raise ProtocolError(f"a protocol without preset needs a 'name': {dict(protocol)}")
        return Protocol(**settings)
    return _changed(_preset(base), settings)


def get_protocols(protocols: ProtocolLike | Iterable[ProtocolLike]) -> list[Protocol]:
    """Make protocols of one or several of what :func:`get_protocol` takes; ``'all'`` stands for all presets.

    Raises:
        ProtocolError: As :func:`get_protocol`, if two have one name, or if there is none.
    """
    if isinstance(protocols, str | Protocol | Mapping):
        protocols = [protocols]
    found: list[Protocol] = []
    for protocol in protocols:
        every = isinstance(protocol, str) and protocol == 'all'
        found += PRESETS.values() if every else [get_protocol(protocol)]
    names = [protocol.name for protocol in found]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ProtocolError(f'two protocols are called {twice[0]!r}: give one of them another name')
    if not found:
        raise ProtocolError('no protocol is given')
    return found


def _changed(protocol: Protocol, changes: Mapping[str, object]) -> Protocol:
    _refuse_unknown(changes)
    named = ', '.join(f'{key}={value}' for key, value in changes.items())
    return replace(protocol, **{'name': f'{protocol.name}({named})' if changes else protocol.name, **changes})


def _refuse_unknown(settings: Mapping[str, object]) -> None:
    known = {field.name for field in fields(Protocol)}
    unknown = [key for key in settings if key not in known]
    if unknown:
        raise ProtocolError(f'a protocol has no field {unknown[0]!r}; there are preset, {", ".join(sorted(known))}')


def _preset(name: object) -> Protocol:
    if not isinstance(name, str) or name not in PRESETS:
        raise ProtocolError(f'there is no preset {name!r}; there are {", ".join(PRESETS)} and all')
    return PRESETS[name]
