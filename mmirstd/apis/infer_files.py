"""Images in, files out: masks, pictures and a table of targets."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from mmengine.config import Config

from mmirstd.apis.configuration import CfgOptions, OptionError
from mmirstd.apis.inference import own_weights
from mmirstd.apis.inferencer import IRSTDInferencer
from mmirstd.checkpoints.state_dict import CheckpointError
from mmirstd.evaluation.analysis.predictions import write_prediction
from mmirstd.io.files import refuse_no_folder, refuse_overwriting, write_atomically, write_png
from mmirstd.io.inputs import Image, list_images
from mmirstd.io.tables import csv_rows, json_bytes
from mmirstd.ops.components import Connectivity
from mmirstd.ops.detections import COLUMNS
from mmirstd.utils.configs import DEFAULT_MODEL


@dataclass
class InferenceSummary:
    """What was found and written: numbers of images and targets, images that failed and why, the folder."""

    out: Path
    images: int = 0
    targets: int = 0
    failures: dict[str, str] = field(default_factory=dict)


def infer(
    images: Image | Sequence[Image],
    out: str | Path,
    model: str | Path | Config = DEFAULT_MODEL,
    checkpoint: str | Path | None = None,
    *,
    threshold: float | None = None,
    connectivity: Connectivity = 8,
    min_area: int = 1,
    batch_size: int = 1,
    device: str | None = None,
    cfg_options: CfgOptions | None = None,
    pictures: bool = True,
    probabilities: Literal['png', 'npz'] | None = None,
    tta: bool = False,
    overwrite: bool = False,
    show_progress: bool = True,
) -> InferenceSummary:
    """Find the targets in images, and write masks, pictures and a table.

    Below ``out``: ``masks/NAME.png`` (0 and 255), ``pictures/NAME.png``, ``probabilities/NAME.png`` or ``.npz``, and
    ``targets.csv`` and ``targets.json`` with a row for each target. An image that cannot be read,
    or for which the network predicts NaN, is passed over and reported.

    Args:
        images: Files, folders, glob patterns or arrays, see :func:`mmirstd.io.inputs.list_images`.
        out: Folder to write to.
        model: Name of a model, path of a config, or a config; by default one for images of any camera.
        checkpoint: Path or address of its weights; by default those that come with the package.
        threshold: A pixel is target when its probability is above; by default the model's own.
        connectivity: 4 or 8 neighbors make a target.
        min_area: Targets of fewer pixels are left out.
        batch_size: Number of images, of equal size, that the network sees at once.
        device: Such as ``'cpu'`` or ``'cuda:0'``; by default the GPU where there is one.
        cfg_options: Changes of the config: dotted keys and values, or ``'KEY=VALUE'`` texts.
        pictures: Draw every image with its targets.
        probabilities: Also write the probability maps, as 255 * p or as ``.npz``; ``mmirstd eval`` reads both.
        tta: Average the probabilities over the image and its mirror images, see :func:`mmirstd.apis.init_model`.
        overwrite: Whether files may be replaced.
        show_progress: Show a progress bar where stderr is a terminal.

    Raises:
        FileNotFoundError: If there is no such file, or a folder or pattern holds no image.
        FileExistsError: If a file would be replaced; nothing is written then.
        OptionError: If an option is out of its range, before the model is built.
        CheckpointError: If the checkpoint is missing or does not fit, or none is given and none comes with the package.
        ValueError: If there is no prediction for any image.
    """
    if (threshold is not None and not 0 <= threshold < 1) or connectivity not in (4, 8):
        raise OptionError(f'--threshold lies in [0, 1), --connectivity is 4 or 8; got {threshold} and {connectivity}')
    if min_area < 1 or batch_size < 1:
        raise OptionError(f'--min-area and --batch-size are at least 1; got {min_area} and {batch_size}')
    if probabilities not in (None, 'png', 'npz'):
        raise OptionError(f"--probabilities are 'png' or 'npz', not {probabilities!r}")
    if checkpoint is None and (checkpoint := own_weights(model)) is None:
        raise CheckpointError(f'no weights come with {_name(model)}: give --checkpoint, the weights of a training')
    samples = list_images(images)
    out = Path(out)
    folders = {'masks': 'png'} | ({'pictures': 'png'} if pictures else {})
    folders |= {'probabilities': probabilities} if probabilities else {}
    tables = out / 'targets.csv', out / 'targets.json'
    files = {
        s['img_id']: {f: out / f / f'{s["img_id"]}.{extension}' for f, extension in folders.items()} for s in samples
    }
    read = [*(s['img_path'] for s in samples if 'img_path' in s), checkpoint]
    refuse_overwriting([*tables, *(path for paths in files.values() for path in paths.values())], overwrite, read)
    refuse_no_folder(out)

    inferencer = IRSTDInferencer(model, checkpoint, device, cfg_options, show_progress, tta)
    summary = InferenceSummary(out)
    rows, reports = [], []  # not the maps, so that any number of images has room
    stream = inferencer.stream(
        samples,  # not `images`: a folder may have got another one meanwhile
        batch_size,
        summary.failures,
        threshold=threshold,
        connectivity=connectivity,
        min_area=min_area,
    )
    for prediction in stream:
        found = prediction.detections
        paths = files[found.name]
        write_png(paths['masks'], found.mask, flush=False)
        if pictures:
            (picture,) = inferencer.visualize([prediction.image], [found], return_vis=True)
            write_png(paths['pictures'], picture, 'rgb', flush=False)
        if probabilities:
            write_prediction(paths['probabilities'], found.probability)
        rows += found.rows()
        reports.append(found.to_dict())
    summary.images, summary.targets = len(reports), len(rows)
    if not reports:
        raise ValueError(
            f'there is no prediction for any of {len(samples)} images: {next(iter(summary.failures.values()))}'
        )
    report = {
        'model': _name(model),
        'checkpoint': str(checkpoint),
        'images': reports,
        'failures': summary.failures,
    }
    write_atomically(tables[0], csv_rows(rows, COLUMNS))
    write_atomically(tables[1], json_bytes(report))
    return summary


def _name(model: str | Path | Config) -> str:
    return str(model.filename if isinstance(model, Config) else model)
