"""What each part of a trained model gives: its output replaced by a constant, and the change of IoU."""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope
from torch import Tensor, nn

from mmirstd.apis.configuration import CfgOptions, OptionError, run_config
from mmirstd.apis.inference import checkpoint_for, init_model
from mmirstd.apis.model_parts import ModelPart, Replacement, list_parts, trace_outputs
from mmirstd.apis.validation import data_name, validation_loader
from mmirstd.evaluation.functional.counts import Counts, count_image, sum_counts
from mmirstd.evaluation.functional.evaluated_image import EvaluatedImage
from mmirstd.evaluation.functional.metrics import compute_metrics
from mmirstd.evaluation.functional.protocols import PRESETS
from mmirstd.io.files import refuse_overwriting, write_atomically
from mmirstd.io.tables import csv_rows, json_bytes, markdown_rows, text_rows
from mmirstd.ops.samples import to_array
from mmirstd.utils.errors import ArgumentError
from mmirstd.utils.progress import progress_bar
from mmirstd.utils.text import as_list, count_of

# Below it, a change of IoU is none.
EFFECTIVE = 0.002
FORMATS = ('.csv', '.json', '.md')
HEADINGS = {
    'part': 'part',
    'type': 'type',
    'zero': 'IoU, zero',
    'zero_change': 'change',
    'mean': 'IoU, mean',
    'mean_change': 'change ',
    'mean_over': 'mean over',
    'verdict': 'verdict',
}


@dataclass(frozen=True)
class PartAblation:
    """IoU of a model of which one part gives a constant.

    Attributes:
        part: Name of the module or parameter.
        type: Name of its class.
        zero: IoU with zero in place of its output.
        mean: IoU with the mean over space or tokens; None where the output has neither.
        mean_over: ``'space'``, ``'tokens'``, both, or ``''``.
        intact: IoU of the model as it is.
    """

    part: str
    type: str
    zero: float
    mean: float | None
    mean_over: str
    intact: float

    @property
    def verdict(self) -> str:
        """Whether one of the constants changes IoU by less than 0.002."""
        if abs(self.zero - self.intact) < EFFECTIVE:
            return 'ineffective'
        if self.mean is not None and abs(self.mean - self.intact) < EFFECTIVE:
            return 'ineffective: a constant' if self.mean_over == 'space' else 'ineffective: its mean is enough'
        return ''

    def as_dict(self) -> dict[str, Any]:
        """Plain values, with the changes of IoU."""
        mean_change = None if self.mean is None else self.mean - self.intact
        row = {'part': self.part, 'type': self.type, 'zero': self.zero, 'zero_change': self.zero - self.intact}
        row |= {'mean': self.mean, 'mean_change': mean_change, 'mean_over': self.mean_over or None}
        return row | {'verdict': self.verdict}


@dataclass(frozen=True)
class ModelAblation:
    """The parts of a model, and what was evaluated.

    Attributes:
        config: Name of the config.
        checkpoint: The checkpoint.
        data: Name of the dataset and its split.
        images: Number of images.
        iou: IoU of the model as it is.
        parts: IoU without each part.
    """

    config: str
    checkpoint: str
    data: str
    images: int
    iou: float
    parts: list[PartAblation]

    def __str__(self) -> str:
        return f'{self.summary}\n{text_rows(self._rows(), HEADINGS)}'

    @property
    def summary(self) -> str:
        """One line on what was evaluated, and one on what the parts come to."""
        ineffective = sum(bool(part.verdict) for part in self.parts)
        return (
            f'{self.config}, {Path(self.checkpoint).name}: IoU {self.iou:.4f} on {count_of(self.images, "image")} of '
            f'{self.data}.\n'
            f'{ineffective} of {len(self.parts)} parts are ineffective: zero, or their own mean, in place of their '
            f'output changes IoU by less than {EFFECTIVE}.'
        )

    def as_dict(self) -> dict[str, Any]:
        """Plain values."""
        about = {'config': self.config, 'checkpoint': self.checkpoint, 'data': self.data, 'images': self.images}
        return about | {'IoU': self.iou, 'parts': [part.as_dict() for part in self.parts]}

    def write(self, path: str | Path) -> None:
        """Write the table in the format that the name ends in: ``.csv``, ``.json`` or ``.md``."""
        rows = [part.as_dict() for part in self.parts]
        contents = {
            '.csv': lambda: csv_rows(rows),
            '.json': lambda: json_bytes(self.as_dict()),
            '.md': lambda: f'{self.summary}\n\n{markdown_rows(self._rows(), HEADINGS)}\n',
        }
        write_atomically(path, contents[Path(path).suffix.lower()]())

    def _rows(self) -> list[dict[str, Any]]:
        rows = [part.as_dict() for part in self.parts]
        return [
            row | {key: f'{row[key]:+.4f}' for key in row if key.endswith('_change') and row[key] is not None}
            for row in rows
        ]


def ablate_parts(
    config: str | Path | Config,
    checkpoint: str | Path | None = None,
    *,
    data_root: str | Path | None = None,
    cfg_options: CfgOptions | None = None,
    parts: str | Sequence[str] = (),
    depth: int = 2,
    images: int | None = None,
    device: str | None = None,
    out: str | Path | None = None,
    overwrite: bool = False,
) -> ModelAblation:
    """Replace the output of each part of a trained model by a constant, and measure IoU on the validation split.

    Args:
        config: Path or name of a config, or a config.
        checkpoint: Path or address; by default the weights that come with the package.
        data_root: Folder of the dataset; by default what the config says.
        cfg_options: Changes of the config: dotted keys and values, or ``'KEY=VALUE'`` texts.
        parts: Names of parts with shell-style wildcards; by default all down to ``depth``.
        depth: Levels of modules, see :func:`mmirstd.apis.model_parts.list_parts`.
        images: Evaluate on the first so many images; by default all.
        device: Such as ``'cpu'`` or ``'cuda:0'``; by default the GPU where there is one.
        out: File for the table: ``.csv``, ``.json`` or ``.md``.
        overwrite: Replace ``out``.

    Returns:
        For each part IoU with zero and with the mean in its place, and whether it is ineffective.

    Raises:
        ArgumentError: If a number is out of range, no part has such a name, or ``out`` is of no known format.
        CheckpointError: If the checkpoint is missing or does not fit, or none is given and none comes with the package.
        FileExistsError: If ``out`` is there.
        OptionError: If the validation split has no masks, or the model has no weights.
    """
    if depth < 1 or (images is not None and images < 1):
        raise ArgumentError(f'--depth and --images must be at least 1, got {depth if depth < 1 else images}')
    if out is not None:
        if Path(out).suffix.lower() not in FORMATS:
            raise ArgumentError(f'--out {out}: the name must end in {", ".join(FORMATS)}')
        refuse_overwriting(out, overwrite)
    if (checkpoint := checkpoint_for(config, checkpoint)) is None:
        raise OptionError(f'{config} has no weights, so no parts of it are trained')
    cfg = run_config(config, ('val',), cfg_options=cfg_options, data_root=data_root)
    loader = validation_loader(cfg)
    model = init_model(cfg, checkpoint, device)
    with DefaultScope.overwrite_default_scope(cfg.get('default_scope', 'mmseg')), torch.no_grad():
        dataset = loader.dataset
        found = _find_parts(model, dataset[0], depth, as_list(parts))
        variants: list[tuple[ModelPart, Replacement] | None] = [None]
        variants += [(part, by) for part in found for by in ('zero', 'mean') if by == 'zero' or part.mean_over]
        counts: list[list[Counts]] = [[] for _ in variants]
        total = min(len(dataset), images or len(dataset))
        with progress_bar(description='images x parts', total=total * len(variants), unit='') as bar:
            for batch in loader:
                data = model.data_preprocessor(batch, False)
                for variant, counted in zip(variants, counts, strict=True):
                    left = total - len(counted)
                    counted += _count_batch(model, data, variant)[:left]
                    bar.update(min(left, len(data['data_samples'])))
                if len(counts[0]) >= total:
                    break
    ious = [compute_metrics(sum_counts(c))['IoU'] for c in counts]
    by_variant = {variant and (variant[0].name, variant[1]): iou for variant, iou in zip(variants, ious, strict=True)}
    result = ModelAblation(
        config=Path(cfg.filename or 'config').stem,
        checkpoint=str(checkpoint),
        data=data_name(dataset),
        images=total,
        iou=by_variant[None],
        parts=[
            PartAblation(
                part=part.name,
                type=part.type,
                zero=by_variant[part.name, 'zero'],
                mean=by_variant.get((part.name, 'mean')),
                mean_over=part.mean_over,
                intact=by_variant[None],
            )
            for part in found
        ],
    )
    if out is not None:
        result.write(out)
    return result


def _find_parts(model: nn.Module, sample: dict[str, Any], depth: int, patterns: Sequence[str]) -> list[ModelPart]:
    """The parts that run for an image, and for twice its height and width."""
    image = sample['inputs']

    def predict(image: Tensor) -> None:
        annotated = sample['data_samples'].clone()
        annotated.set_metainfo(dict.fromkeys(('img_shape', 'ori_shape', 'pad_shape'), tuple(image.shape[1:])))
        model.test_step({'inputs': [image], 'data_samples': [annotated]})

    images = (image, torch.cat((image, image), 1), torch.cat((image, image), 2))
    return list_parts(model, trace_outputs(model, [lambda x=x: predict(x) for x in images]), depth, patterns)


def _count_batch(model: nn.Module, data: dict[str, Any], variant: tuple[ModelPart, Replacement] | None) -> list[Counts]:
    """Predict with a part replaced, and count by the protocol ``exact``."""
    with ExitStack() as stack:
        if variant is not None:
            stack.enter_context(variant[0].replaced(variant[1]))
        samples = model(**data, mode='predict')
    pairs = [(to_array(s.pred_sem_seg.data[0]), to_array(s.gt_sem_seg.data[0])) for s in samples]
    return [count_image(EvaluatedImage.from_labels(*pair, 255), PRESETS['exact']) for pair in pairs]
