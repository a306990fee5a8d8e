"""Masks from boxes, outlines and points, and boxes from masks and detections, with splits."""

import heapq
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mmirstd.apis.label_files import ConvertedImage, LabelFormat, label_files
from mmirstd.apis.label_sources import LabelItem, find_items, source_files
from mmirstd.apis.label_targets import locate_targets, paint
from mmirstd.datasets.prepare.checks import hash_pixels
from mmirstd.datasets.prepare.splits import draw_lists, group_by_sequence
from mmirstd.datasets.prepare.writing import Link, OutputFile, compare, write
from mmirstd.io.annotations import AnnotationError
from mmirstd.io.files import encode_png, refuse_no_folder, refuse_overwriting
from mmirstd.io.ids import refuse_unwritable
from mmirstd.io.images import drop_alpha, read_image, refuse_non_finite
from mmirstd.ops.components import label_components
from mmirstd.ops.growing import Growth, Polarity
from mmirstd.ops.target_statistics import to_gray
from mmirstd.utils.errors import ArgumentError
from mmirstd.utils.progress import progress_bar
from mmirstd.utils.text import count_of, did_you_mean
from mmirstd.visualization.label_sheet import SheetView, cut_view, draw_label_sheet

SHEET = 'grown_targets.png'


@dataclass
class LabelReport:
    """What was converted: the kind of the source, the folder, numbers, the images of each split, what was left out."""

    kind: str
    out: Path
    images: int = 0
    background: int = 0
    targets: int = 0
    grown: int = 0
    uncertain: int = 0
    touching: int = 0
    written: int = 0
    categories: list[str] = field(default_factory=list)
    splits: dict[str, int] = field(default_factory=dict)
    sequences: int | None = None
    left_out: dict[str, str] = field(default_factory=dict)
    sheet: Path | None = None

    def to_text(self) -> str:
        """One fact a line."""
        lines = [
            f'{count_of(self.images, "image")} ({self.background} without a target), '
            f'{count_of(self.targets, "target")} from {self.kind} in {self.out}; '
            f'{count_of(self.written, "file")} written'
        ]
        if self.grown:
            lines.append(f'{self.grown} targets are grown' + (f'; look at {self.sheet}' if self.sheet else ''))
        if self.uncertain:
            lines.append(f'{self.uncertain} of them fill their window to its border: perhaps no small target')
        if self.touching:
            lines.append(f'{self.touching} targets touch another one and are one component with it')
        if self.categories != ['target']:
            lines.append(f'categories: {", ".join(self.categories)}')
        if self.splits:
            sequences = '' if self.sequences is None else f' ({self.sequences} groups of sequences, none divided)'
            lines.append(', '.join(f'{part} {number}' for part, number in self.splits.items()) + sequences)
        lines += [f'left out: {image}: {why}' for image, why in self.left_out.items()]
        return '\n'.join(lines)


def convert_labels(
    source: str | Path,
    out: str | Path,
    to: LabelFormat = 'masks',
    *,
    images: str | Path | None = None,
    categories: Sequence[str] | None = None,
    level: float = Growth.level,
    ring: int = Growth.ring,
    window: int = Growth.window,
    polarity: Polarity = Growth.polarity,
    split: Sequence[float] | None = None,
    by_sequence: str | None = None,
    seed: int = 0,
    link: Link = None,
    sheet: int = 24,
    skip_bad: bool = False,
    overwrite: bool = False,
) -> LabelReport:
    """Convert annotations to masks, or masks and detections to boxes, and draw splits.

    Everything is read and checked before the first file is written. Below ``out``:

    - ``to='masks'``: ``masks/ID.png`` (0 and 255) and the images in ``images/``, as
      :class:`mmirstd.datasets.FolderDataset` takes them;
    - ``to='coco'``: ``annotations.json``, or with splits ``annotations/train.json`` and so on, with boxes, and with
      the pixels where they are known;
    - ``to='yolo'``: ``labels/ID.txt`` with boxes, ``classes.txt``, and the images in ``images/``;
    - with ``split``: ``train.txt``, ``val.txt`` and ``test.txt``, an id a line;
    - where targets were grown: ``grown_targets.png``.

    Args:
        source: A file of COCO, a folder of YOLO's text files, a folder of masks, or the ``targets.json`` of
            :func:`mmirstd.apis.infer`, see :func:`mmirstd.apis.label_sources.find_items`.
        out: Folder to write to. Files that are there and equal stay.
        to: What to write.
        images: Folder of the images; needed for COCO and YOLO, and wherever targets are grown or images are written.
        categories: Take only these, names or numbers as the source has them.
        level: Of growing, see :class:`mmirstd.ops.growing.Growth`, like `ring`, `window` and `polarity`.
        ring: Width of the surroundings, in pixels.
        window: Side of the window around a point, in pixels.
        polarity: ``'bright'`` or ``'dark'`` targets.
        split: Shares of train, val and test, which add up to 1.
        by_sequence: Regular expression whose first group names the sequence of an id; no sequence is divided.
        seed: Of the splits.
        link: Link to the images, ``'hard'`` or ``'symbolic'``, instead of copying them.
        sheet: At most so many grown targets on the sheet, those that stand out least first; 0 for no sheet.
        skip_bad: Leave out images with an annotation that makes no target, and report them.
        overwrite: Whether files that differ may be replaced.

    Raises:
        ArgumentError: If an option is wrong.
        AnnotationError: If an annotation is wrong; the message names file, annotation and value.
        FileNotFoundError: If there is no such source or folder.
        FileExistsError: If a file would be replaced; nothing is written then.
    """
    growth = _check(to, level, ring, window, polarity, split, by_sequence, seed, sheet)
    out = Path(out)
    refuse_no_folder(out)
    if images is not None and out.resolve().is_relative_to(Path(images).resolve()):
        raise ArgumentError(f'--out {out} lies in --images {images}: what is written would be read as images')
    kind, items = find_items(source, images)
    if images is None and (to == 'masks' and kind == 'targets'):
        raise ArgumentError(f'{source}: masks are grown in the boxes of detections: --images DIR is needed')
    report = LabelReport(kind, out)
    _check_splits([item.id for item in items], source, split, by_sequence)
    done, views, seen = [], _LeastClear(sheet), set()
    problems: dict[str, list[str]] = {}
    for item in progress_bar(items, 'converting'):
        try:
            converted = _convert(item, to, growth, categories, seen, report, views)
        except AnnotationError as error:
            problems[item.id] = error.args[0] if isinstance(error.args[0], list) else [str(error)]
        except ValueError as error:
            problems[item.id] = [str(error)]
        else:
            done.append(converted)
    _judge(problems, len(items), skip_bad, report)
    if unknown := [c for c in categories or () if c not in seen]:
        known = ', '.join(_order(seen)) or 'none'
        raise ArgumentError(f'--categories {unknown[0]}: {source} has {known}{did_you_mean(unknown[0], seen)}')
    report.images = len(done)
    report.categories = _order({t.annotation.category for c in done for t in c.targets}) or ['target']
    parts = _draw(done, split, by_sequence, seed, report)
    outputs = label_files(done, to, parts, report.categories, link)
    if views.kept:
        heading = f'{len(views.kept)} of {report.grown} grown targets, those that stand out least first'
        outputs.append(OutputFile(SHEET, content=encode_png(draw_label_sheet(views.sorted(), heading), 'rgb')))
        report.sheet = out / SHEET
    state = compare(outputs, out)
    refuse_overwriting((out / item.to for item in state.different), True, source_files(source))
    report.written = write(state, out, overwrite=overwrite)
    return report


def _check(
    to: str, level: float, ring: int, window: int, polarity: str, split: Sequence[float] | None,
    by_sequence: str | None, seed: int, sheet: int,
) -> Growth:  # fmt: skip
    if to not in ('masks', 'coco', 'yolo'):
        raise ArgumentError(f"labels become 'masks', 'coco' or 'yolo', not {to!r}")
    if seed < 0 or sheet < 0:
        raise ArgumentError(f'--seed and --sheet are at least 0, got {seed} and {sheet}')
    if by_sequence is not None and split is None:
        raise ArgumentError('--by-sequence says how --split divides: give the shares, such as --split 0.7 0.1 0.2')
    if split is not None and (
        len(split) != 3 or not all(0 <= share <= 1 for share in split) or not split[0] or abs(sum(split) - 1) > 1e-6
    ):
        raise ArgumentError(f'--split has the shares of train, val and test, which add up to 1, got {list(split)}')
    try:
        return Growth(level, ring, window, polarity)
    except ValueError as error:
        raise ArgumentError(str(error)) from error


def _check_splits(
    ids: Sequence[str], source: str | Path, split: Sequence[float] | None, by_sequence: str | None
) -> None:
    """See that splits can be drawn and written, before images are read."""
    if split is not None:
        refuse_unwritable(ids, str(source))
        if by_sequence is not None:
            group_by_sequence({i: i for i in ids}, by_sequence)


def _convert(
    item: LabelItem,
    to: str,
    growth: Growth,
    categories: Sequence[str] | None,
    seen: set[str],
    report: LabelReport,
    views: '_LeastClear',
) -> ConvertedImage:
    found = item.read()
    seen.update(a.category for a in found.annotations)
    if categories is not None:
        found.annotations = [a for a in found.annotations if a.category in categories]
    image = None if item.path is None else read_image(item.path)
    gray = None
    if image is not None:
        refuse_non_finite(image, item.path)
        gray = to_gray(drop_alpha(image))
    targets, problems = locate_targets(found, gray, growth, keep_boxes=to != 'masks')
    if problems:
        raise AnnotationError(problems)
    grown = [t for t in targets if t.grown is not None]
    for target in grown:
        title = f'{item.id}, SCR {target.grown.scr:.1f}, {int(target.mask.sum())} px'
        views.add(target.grown.scr, lambda t=target, title=title: cut_view(gray, t.grown, title))
    report.background += not targets
    report.targets += len(targets)
    report.grown += len(grown)
    report.uncertain += sum(t.grown.cut for t in grown if t.annotation.point is not None)
    png = b''
    if to == 'masks':
        mask = paint(targets, found.size)
        report.touching += max(0, len(targets) - len(label_components(mask)))
        png = encode_png(mask)
    pixels = item.id if image is None else hash_pixels(image)
    return ConvertedImage(item, found.size, targets, pixels, png)


class _LeastClear:
    """The targets that stand out least, at most ``most``."""

    def __init__(self, most: int) -> None:
        self.most, self.kept, self._count = most, [], 0

    def add(self, scr: float, view: object) -> None:
        self._count += 1
        key = -scr if math.isfinite(scr) else -math.inf
        if len(self.kept) < self.most:
            heapq.heappush(self.kept, (key, -self._count, view()))
        elif self.most and key > self.kept[0][0]:
            heapq.heapreplace(self.kept, (key, -self._count, view()))

    def sorted(self) -> list[SheetView]:
        return [view for *_, view in sorted(self.kept, key=lambda entry: entry[:2], reverse=True)]


def _judge(problems: dict[str, list[str]], number: int, skip_bad: bool, report: LabelReport) -> None:
    lines = [line for found in problems.values() for line in found]
    if lines and not skip_bad:
        shown = '; '.join(lines[:5]) + (f'; and {len(lines) - 5} more' if len(lines) > 5 else '')
        raise AnnotationError(
            f'{shown}. Nothing is written; --skip-bad leaves out the {len(problems)} of {number} images that have such '
            f'annotations'
        )
    if len(problems) == number:
        raise AnnotationError(f'none of {number} images is usable: {lines[0] if lines else "there are none"}')
    report.left_out = {image: found[0] for image, found in problems.items()}


def _order(categories: set[str]) -> list[str]:
    """Numbers by value, names by letter."""
    return sorted(categories, key=lambda name: (not name.isdecimal(), int(name) if name.isdecimal() else 0, name))


def _draw(
    done: list[ConvertedImage], split: Sequence[float] | None, by_sequence: str | None, seed: int, report: LabelReport
) -> dict[str, list[str]]:
    if split is None:
        return {}
    groups = {c.item.id: c.pixels for c in done}
    if by_sequence is not None:
        groups = group_by_sequence(groups, by_sequence)
        report.sequences = len(set(groups.values()))
    wanted = sum(share > 0 for share in split)
    if (number := len(set(groups.values()))) < wanted:
        what = 'different images' if by_sequence is None else 'sequences'
        raise ArgumentError(f'{number} {what} cannot be divided into {wanted} splits')
    parts = draw_lists(groups, split, seed)
    report.splits = {part: len(ids) for part, ids in parts.items()}
    return parts
