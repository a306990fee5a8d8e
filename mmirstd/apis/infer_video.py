"""Sequences in, an annotated video and tables out, one frame after the other."""

import csv
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from mmirstd.apis.inferencer import IRSTDInferencer
from mmirstd.apis.linking import Linker
from mmirstd.apis.prediction import Prediction
from mmirstd.io.files import whole_file
from mmirstd.io.names import flat_name
from mmirstd.io.tables import plain
from mmirstd.io.video import DEFAULT_FPS, VIDEO_EXTENSIONS, Frame, FrameReader, VideoSizeError, video_writer
from mmirstd.ops.detections import COLUMNS
from mmirstd.utils.progress import progress_bar
from mmirstd.visualization.frames import draw_frame

FRAME_COLUMNS = ('frame', 'time', 'targets', 'problem')
TARGET_COLUMNS = ('frame', 'time', 'track', *COLUMNS[1:])


@dataclass
class SequenceSummary:
    """What was found in a sequence: its name and file, numbers of frames predicted and of targets and tracks."""

    name: str
    path: str
    frames: int = 0
    targets: int = 0
    tracks: int = 0
    fps: float | None = None


def sequence_name(img_id: str) -> str:
    """Name a sequence by its file, without folders and the extension of a video.

    >>> sequence_name('flights/1.mp4'), sequence_name('stack')
    ('flights_1', 'stack')
    """
    stem, extension = os.path.splitext(img_id)
    return flat_name(stem if extension.lower() in VIDEO_EXTENSIONS else img_id)


def sequence_files(out: Path, name: str, pictures: bool) -> dict[str, Path]:
    """Name the files that :func:`infer_sequence` writes: ``frames``, ``targets`` and, with pictures, ``video``."""
    folder = out / 'sequences'
    files = {'frames': folder / f'{name}_frames.csv', 'targets': folder / f'{name}_targets.csv'}
    return files | ({'video': folder / f'{name}.mp4'} if pictures else {})


def infer_sequence(
    inferencer: IRSTDInferencer,
    path: str,
    name: str,
    files: Mapping[str, Path],
    failures: dict[str, str],
    *,
    batch_size: int = 1,
    link: bool = False,
    **options: Any,
) -> SequenceSummary:
    """Find the targets in the frames of a video or a TIFF of several pages.

    Args:
        inferencer: Does it.
        path: The file.
        name: Of the sequence.
        files: From :func:`sequence_files`. Each is there whole or not at all; no video is written without a frame.
        failures: Takes the frames that are passed over, as ``PATH, frame N``, and what was lost at an unknown place as
            ``PATH``, with the reasons.
        batch_size: Number of frames that the network sees at once.
        link: Whether detections are joined into tracks.
        **options: Of :meth:`IRSTDInferencer.forward`.

    Raises:
        ValueError: If the file cannot be opened.
        MissingExtraError: If `link` needs a package that is not installed.
    """
    reader = FrameReader(path)
    frames = predict_frames(inferencer, reader, path, failures, batch_size, **options)
    with progress_bar(frames, name, reader.number, unit='frame', disable=not inferencer.show_progress) as bar:
        summary = write_sequence(bar, name, path, files, failures, reader.fps, link)
    if reader.lost:
        failures[path] = f'{path}: {reader.lost}'
    return summary


def write_sequence(
    frames: Iterable[tuple[Frame, Prediction | None]],
    name: str,
    path: str,
    files: Mapping[str, Path],
    failures: dict[str, str],
    fps: float | None = None,
    link: bool = False,
) -> SequenceSummary:
    """Write the tables of a sequence and its annotated video, one frame after the other.

    Args:
        frames: From :func:`predict_frames`.
        name: Of the sequence.
        path: Its file.
        files: See :func:`infer_sequence`.
        failures: Why there is no prediction for frames: ``PATH, frame N`` and the reason. Takes ``PATH, video`` if
            OpenCV cannot write one of that size.
        fps: Frames in a second; None: 25.
        link: Whether detections are joined into tracks.
    """
    summary = SequenceSummary(name, path, fps=fps)
    linker, tracks = Linker() if link else None, set()
    with ExitStack() as stack:
        add_frame = stack.enter_context(_table(files['frames'], FRAME_COLUMNS))
        add_target = stack.enter_context(_table(files['targets'], TARGET_COLUMNS))
        video = stack.enter_context(video_writer(files['video'], fps or DEFAULT_FPS)) if 'video' in files else None
        for frame, prediction in frames:
            problem = failures.get(f'{path}, frame {frame.number}', '')
            found = None if prediction is None else prediction.detections
            numbers = linker(found) if linker else [None] * (0 if found is None else len(found))
            about = {'frame': frame.number, 'time': None if frame.time is None else round(frame.time, 6)}
            add_frame(about | {'targets': None if found is None else len(found), 'problem': problem})
            if found is None:
                continue
            for row, track in zip(found.rows(), numbers, strict=True):
                add_target(row | about | {'track': track})
            tracks.update(number for number in numbers if number is not None)
            summary.frames += 1
            summary.targets += len(found)
            if video:
                labels = ['' if number is None else str(number) for number in numbers] if link else []
                try:
                    video(draw_frame(prediction.image, found.boxes, labels, frame_title(name, frame)))
                except VideoSizeError as error:  # the tables are written all the same
                    failures[f'{path}, video'], video = str(error), None
    summary.tracks = len(tracks)
    return summary


def frame_title(name: str, frame: Frame) -> str:
    """What stands below a frame."""
    return f'{name}, frame {frame.number}' + ('' if frame.time is None else f', {frame.time:.2f} s')


def predict_frames(
    inferencer: IRSTDInferencer,
    frames: Iterable[Frame],
    path: str,
    failures: dict[str, str],
    batch_size: int = 1,
    **options: Any,
) -> Iterator[tuple[Frame, Prediction | None]]:
    """Yield each frame with its prediction, in order, a batch at a time.

    Args:
        inferencer: Predicts.
        frames: The frames.
        path: Their file.
        failures: Takes the frames without a prediction, as ``PATH, frame N``, with the reason.
        batch_size: Number of frames that the network sees at once.
        **options: Of :meth:`IRSTDInferencer.forward`.
    """
    stream = iter(frames)
    while chunk := list(islice(stream, batch_size)):
        names = [f'{path}, frame {frame.number}' for frame in chunk]
        samples = []
        for frame, name in zip(chunk, names, strict=True):
            if frame.image is None:
                failures[name] = frame.problem
            else:
                samples.append({'img': frame.image, 'img_id': name})
        found = {}
        for batch in inferencer.preprocess(samples, batch_size, failures):
            for prediction in inferencer.forward(batch, failures=failures, **options):
                if prediction is not None:
                    found[prediction.detections.name] = prediction
        yield from ((frame, found.get(name)) for frame, name in zip(chunk, names, strict=True))


@contextmanager
def _table(path: Path, columns: Sequence[str]) -> Iterator[Callable[[Mapping[str, Any]], None]]:
    """Give a function that adds a row to a CSV file, which is there whole or not at all."""
    with whole_file(path) as temporary, open(temporary, 'w', encoding='utf-8', newline='') as file:
        writer = csv.writer(file, lineterminator='\n')
        writer.writerow(columns)
        yield lambda row: writer.writerow([plain(row[column]) for column in columns])
        file.flush()
