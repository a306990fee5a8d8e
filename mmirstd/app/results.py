"""From files to what the page shows and gives: predictions that are kept, and cut at any threshold afterwards."""

import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from mmirstd.apis import IRSTDInferencer
from mmirstd.apis.infer_video import frame_title, predict_frames, sequence_files, sequence_name, write_sequence
from mmirstd.apis.prediction import Prediction, draw_prediction
from mmirstd.app.uploads import Upload, UploadLimits, reason_of
from mmirstd.io.files import write_atomically, write_png
from mmirstd.io.images import read_header
from mmirstd.io.names import file_names, flat_name, image_id
from mmirstd.io.tables import csv_rows
from mmirstd.io.video import Frame, FrameReader
from mmirstd.ops.detections import COLUMNS
from mmirstd.utils.text import count_of, format_threshold

# Rows of the table on the page, and what is in them.
MAX_ROWS = 200
DIGITS = {'row': 1, 'col': 1, 'score': 3, 'peak': 3, 'contrast': 1, 'scr': 2}


@dataclass
class Result:
    """What was predicted for a file: an image, or the frames of a sequence.

    Attributes:
        name: Of the file, without folders; unique.
        predictions: One, or one for each frame that could be read.
        frames: None for an image. Otherwise the frames, without their images.
        fps: Frames in a second, where the file says it.
    """

    name: str
    predictions: list[Prediction]
    frames: list[Frame] | None = None
    fps: float | None = None

    def at(self, threshold: float, position: int = 0) -> Prediction:
        """The prediction of an image, or of a frame by its position, at a threshold."""
        return self.predictions[min(max(int(position), 0), len(self.predictions) - 1)].at(threshold)


class View(NamedTuple):
    """What the page shows: a picture (H', W', 3) uint8 RGB, rows for the table, and a line on them."""

    picture: np.ndarray
    rows: list[list[Any]]
    summary: str


def predict_uploads(
    inferencer: IRSTDInferencer, uploads: Sequence[Upload], limits: UploadLimits
) -> tuple[list[Result], dict[str, str]]:
    """Run the network on files.

    Returns:
        What was predicted, in the order of the files, and for each that fails or is cut short its name and the reason.
    """
    names = file_names(
        flat_name(sequence_name(upload.name) if upload.is_sequence else image_id(upload.name)) for upload in uploads
    )
    results, problems, room = [], {}, limits.total_pixels
    for upload, name in zip(uploads, names, strict=True):
        failures: dict[str, str] = {}
        try:
            predict = _predict_sequence if upload.is_sequence else _predict_image
            result = predict(inferencer, upload.path, name, limits, room, failures)
            if result.predictions:
                results.append(result)
                room -= sum(prediction.detections.mask.size for prediction in result.predictions)
        except ValueError as error:
            failures[upload.path] = str(error)
        for failure, reason in failures.items():
            what = failure.replace(upload.path, upload.name)
            problems[what] = reason_of(ValueError(reason), what, failure, upload.path)
    return results, problems


def view(result: Result, position: int, threshold: float, drawing: Mapping[str, Any]) -> View:
    """Show an image, or a frame, at a threshold; the network is not asked again.

    Args:
        result: From :func:`predict_uploads`.
        position: Of the frame.
        threshold: A pixel is target when its probability is above.
        drawing: ``panel_size`` and ``max_insets`` of :func:`mmirstd.visualization.draw_detections`.
    """
    found, image = result.at(threshold, position)
    rows = [
        [round(value, DIGITS[key]) if key in DIGITS and value is not None else value for key, value in row.items()][1:]
        for row in found.rows()[:MAX_ROWS]
    ]
    summary = f'{count_of(len(found), "target")} in {found.name} at threshold {format_threshold(threshold)}'
    if len(found) > MAX_ROWS:
        summary += f'; the table shows the first {MAX_ROWS}'
    return View(draw_prediction(image, found, drawing, probability=True), rows, summary)


def write_files(
    results: Sequence[Result], chosen: int, position: int, threshold: float, folder: Path, drawing: Mapping[str, Any]
) -> list[Path]:
    """Write what can be downloaded.

    For the chosen image or frame: mask, picture and table of targets. For a sequence also the annotated video and the
    tables of frames and targets. For several files: a ZIP archive of all of them, as ``mmirstd infer`` lays them out.

    Args:
        results: From :func:`predict_uploads`.
        chosen: Which of them is shown.
        position: Of the frame.
        threshold: A pixel is target when its probability is above.
        folder: To write to; empty.
        drawing: See :func:`view`.
    """
    result = results[chosen]
    found, image = result.at(threshold, position)
    stem = flat_name(file_names([found.name])[0])
    files = [folder / f'{stem}_mask.png', folder / f'{stem}_picture.png', folder / f'{stem}_targets.csv']
    write_png(files[0], found.mask, flush=False)
    write_png(files[1], draw_prediction(image, found, drawing, probability=True), 'rgb', flush=False)
    write_atomically(files[2], csv_rows(found.rows(), COLUMNS), flush=False)
    if result.frames is not None:
        files += _write_sequence(result, threshold, folder / 'video')
    if len(results) > 1:
        whole = folder / 'all'
        _write_all(results, threshold, whole, drawing)
        files.append(folder / 'all.zip')
        with zipfile.ZipFile(files[-1], 'w', zipfile.ZIP_DEFLATED) as archive:
            for path in sorted(path for path in whole.rglob('*') if path.is_file()):
                archive.write(path, path.relative_to(whole).as_posix())
    return files


def _predict_image(
    inferencer: IRSTDInferencer, path: str, name: str, limits: UploadLimits, room: int, failures: dict[str, str]
) -> Result:
    header = read_header(path)
    if header.width * header.height > room:
        raise ValueError(f'there is no room left: {limits.total_pixels} pixels are shown at once')
    return Result(name, list(inferencer.stream([{'img_path': path, 'img_id': name}], failures=failures)))


def _predict_sequence(
    inferencer: IRSTDInferencer, path: str, name: str, limits: UploadLimits, room: int, failures: dict[str, str]
) -> Result:
    reader = FrameReader(path)
    result = Result(name, [], [], reader.fps)
    for frame, prediction in predict_frames(inferencer, _within(reader, limits, room, failures), path, failures):
        if prediction is not None:
            found = replace(prediction.detections, name=frame_title(name, frame))
            result.predictions.append(Prediction(found, prediction.image))
            result.frames.append(frame._replace(image=None))
    if reader.lost:
        failures[path] = f'{path}: {reader.lost}'
    return result


def _within(reader: FrameReader, limits: UploadLimits, room: int, failures: dict[str, str]) -> Iterator[Frame]:
    """The first frames of a file, as many as there is room for."""
    for count, frame in enumerate(reader):
        size = 0 if frame.image is None else frame.image.shape[0] * frame.image.shape[1]
        if size > limits.pixels:
            raise ValueError(f'frames of {frame.image.shape[1]} x {frame.image.shape[0]} are too large')
        room -= size
        if count >= limits.frames or room < 0:
            of = f' of {reader.number}' if reader.number > count else ''
            failures[reader.path] = f'only its first {count}{of} frames are shown'
            return
        yield frame


def _write_sequence(result: Result, threshold: float, folder: Path) -> list[Path]:
    frames = (
        (frame, prediction.at(threshold)) for frame, prediction in zip(result.frames, result.predictions, strict=True)
    )
    files = sequence_files(folder, result.name, pictures=True)
    write_sequence(frames, result.name, '', files, {}, result.fps)
    return list(files.values())


def _write_all(results: Sequence[Result], threshold: float, folder: Path, drawing: Mapping[str, Any]) -> None:
    rows = []
    for result in results:
        if result.frames is not None:
            _write_sequence(result, threshold, folder)
            continue
        found, image = result.at(threshold)
        write_png(folder / f'masks/{result.name}.png', found.mask, flush=False)
        write_png(folder / f'pictures/{result.name}.png', draw_prediction(image, found, drawing), 'rgb', flush=False)
        rows += found.rows()
    write_atomically(folder / 'targets.csv', csv_rows(rows, COLUMNS), flush=False)
