"""Images in, files out: masks, pictures and a table of targets."""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from mmengine.config import Config

from mmirstd.apis.configuration import CfgOptions, read_config
from mmirstd.apis.infer_video import SequenceSummary, infer_sequence, sequence_files, sequence_name
from mmirstd.apis.inference import checkpoint_for
from mmirstd.apis.inferencer import IRSTDInferencer
from mmirstd.apis.linking import Linker
from mmirstd.apis.prediction import Prediction
from mmirstd.apis.tiled import tiling_of, usual_tile
from mmirstd.evaluation.analysis.predictions import write_prediction
from mmirstd.io.files import refuse_no_folder, refuse_overwriting, write_atomically, write_png
from mmirstd.io.inputs import Image, list_images
from mmirstd.io.names import file_names
from mmirstd.io.tables import csv_rows, json_bytes
from mmirstd.io.video import is_sequence
from mmirstd.ops.components import Connectivity
from mmirstd.ops.detections import COLUMNS
from mmirstd.utils.configs import DEFAULT_MODEL
from mmirstd.utils.errors import ArgumentError, UserError
from mmirstd.utils.text import count_of
from mmirstd.visualization.frames import draw_frame


class NoPredictionError(UserError, ValueError):
    """None of the images can be read and predicted."""


@dataclass
class InferenceSummary:
    """What was found and written: numbers of images and targets, sequences, what failed and why, the folder.

    The targets are those of images and of frames; a failure may be one of a frame.
    """

    out: Path
    images: int = 0
    targets: int = 0
    sequences: list[SequenceSummary] = field(default_factory=list)
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
    tile: int | None = None,
    overlap: int | None = None,
    link: bool = False,
    overwrite: bool = False,
    show_progress: bool = True,
) -> InferenceSummary:
    """Find the targets in images and in the frames of videos, and write masks, pictures and tables.

    Below ``out``: ``masks/NAME.png`` (0 and 255), ``pictures/NAME.png``, ``probabilities/NAME.png`` or ``.npz``, and
    ``targets.csv`` and ``targets.json`` with a row for each target. An image that cannot be read,
    or for which the network predicts NaN, is passed over and reported.

    A video and a TIFF file of several pages are sequences, see :func:`mmirstd.apis.infer_video.infer_sequence`: below
    ``out/sequences`` are the annotated video ``NAME.mp4``, ``NAME_frames.csv`` with a row for each frame, and
    ``NAME_targets.csv`` with a row for each target.

    Args:
        images: Files, folders, glob patterns or arrays, see :func:`mmirstd.io.inputs.list_images`; videos by name.
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
        tile: Longest side of a tile; larger images are cut. None: ``model.test_cfg.tile`` of the config, or else 1,024,
            for images of more than 1.5 x 1.5 tiles. 0: never.
        overlap: Pixels that neighboring tiles share; by default a quarter of a tile.
        link: Join detections over frames into tracks: those of a video, and of the images of each folder, in the order
            of their names. Needs the extra ``video``.
        overwrite: Whether files may be replaced.
        show_progress: Show a progress bar where stderr is a terminal.

    Raises:
        FileNotFoundError: If there is no such file, or a folder or pattern holds no image.
        FileExistsError: If a file would be replaced; nothing is written then.
        ArgumentError: If an option is out of its range, before the model is built.
        CheckpointError: If the checkpoint is missing or does not fit, or none is given and none comes with the package.
        NoPredictionError: If there is no prediction for any image.
    """
    if (threshold is not None and not 0 <= threshold < 1) or connectivity not in (4, 8):
        raise ArgumentError(f'--threshold lies in [0, 1), --connectivity is 4 or 8; got {threshold} and {connectivity}')
    if min_area < 1 or batch_size < 1:
        raise ArgumentError(f'--min-area and --batch-size are at least 1; got {min_area} and {batch_size}')
    if probabilities not in (None, 'png', 'npz'):
        raise ArgumentError(f"--probabilities are 'png' or 'npz', not {probabilities!r}")
    checkpoint = checkpoint_for(model, checkpoint, '--checkpoint')
    cfg = read_config(model, cfg_options)
    tiling_of(tile, overlap, usual_tile(cfg))
    if link:
        Linker()  # an error now rather than after the first frame
    listed, out = list_images(images), Path(out)
    is_video = [is_sequence(s.get('img_path', '')) for s in listed]
    samples = [s for s, video in zip(listed, is_video, strict=True) if not video]
    videos = [s for s, video in zip(listed, is_video, strict=True) if video]
    names = file_names(sequence_name(s['img_id']) for s in videos)
    sequences = dict(zip(names, (s['img_path'] for s in videos), strict=True))
    folders = {'masks': 'png'} | ({'pictures': 'png'} if pictures else {})
    folders |= {'probabilities': probabilities} if probabilities else {}
    tables = out / 'targets.csv', out / 'targets.json'
    files = {
        s['img_id']: {f: out / f / f'{s["img_id"]}.{extension}' for f, extension in folders.items()} for s in samples
    }
    tables_of = {name: sequence_files(out, name, pictures) for name in sequences}
    outputs = [path for paths in (*files.values(), *tables_of.values()) for path in paths.values()]
    read = [*(s['img_path'] for s in listed if 'img_path' in s), *filter(None, [checkpoint])]
    refuse_overwriting([*tables, *outputs], overwrite, read)
    refuse_no_folder(out)

    inferencer = IRSTDInferencer(cfg, checkpoint, device, None, show_progress, tta, tile, overlap)
    summary = InferenceSummary(out)
    options = {'threshold': threshold, 'connectivity': connectivity, 'min_area': min_area}
    options['keep_probability'] = probabilities is not None
    rows, reports = [], []  # not the maps, so that any number of images has room
    # Not of `images`: a folder may have got another one meanwhile.
    stream = inferencer.stream(samples, batch_size, summary.failures, **options) if samples else ()
    for prediction, tracks in _linked(stream, samples) if link else ((prediction, None) for prediction in stream):
        found = prediction.detections
        paths = files[found.name]
        write_png(paths['masks'], found.mask, flush=False)
        if pictures and tracks is None:
            (picture,) = inferencer.visualize([prediction.image], [found], return_vis=True)
            write_png(paths['pictures'], picture, 'rgb', flush=False)
        elif pictures:
            labels = ['' if track is None else str(track) for track in tracks]
            write_png(paths['pictures'], draw_frame(prediction.image, found.boxes, labels, found.name), 'rgb', False)
        if probabilities:
            write_prediction(paths['probabilities'], found.probability)
        new, report = found.rows(), found.to_dict()
        for row, target, track in zip(new, report['targets'], tracks or (), strict=tracks is not None):
            row['track'] = target['track'] = track
        rows += new
        reports.append(report)
    summary.images, summary.targets = len(reports), len(rows)
    for name, path in sequences.items():
        try:
            done = infer_sequence(
                inferencer, path, name, tables_of[name], summary.failures, batch_size=batch_size, link=link, **options
            )
        except ValueError as error:  # it cannot be opened
            summary.failures[path] = str(error)
            continue
        summary.sequences.append(done)
        summary.targets += done.targets
    if not reports and not any(done.frames for done in summary.sequences):
        reason = next(iter(summary.failures.values()))
        raise NoPredictionError(f'there is no prediction for any of {count_of(len(listed), "image")}: {reason}')
    report = {
        'model': _name(model),
        'checkpoint': None if checkpoint is None else str(checkpoint),
        'images': reports,
        'sequences': [asdict(done) for done in summary.sequences],
        'failures': summary.failures,
    }
    write_atomically(tables[0], csv_rows(rows, (*COLUMNS, 'track') if link else COLUMNS))
    write_atomically(tables[1], json_bytes(report))
    return summary


def _linked(
    stream: Iterable[Prediction], samples: Sequence[Mapping[str, Any]]
) -> Iterator[tuple[Prediction, list[int | None]]]:
    """Predictions with the tracks of their detections; each folder is a sequence, an image that failed a gap in it."""
    linkers: dict[str, Linker] = {}
    waiting = iter(samples)
    for prediction in stream:
        for sample in waiting:
            folder = os.path.dirname(sample.get('img_path', ''))
            if (linker := linkers.get(folder)) is None:
                linker = linkers[folder] = Linker()
            if sample['img_id'] == prediction.detections.name:
                yield prediction, linker(prediction.detections)
                break
            linker(None)


def _name(model: str | Path | Config) -> str:
    return str(model.filename if isinstance(model, Config) else model)
