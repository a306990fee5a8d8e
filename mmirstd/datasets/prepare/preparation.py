"""The whole way from a download to a folder that a dataset class reads."""

import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from mmirstd.datasets.prepare.archives import FOREIGN_EXTENSIONS, Limits, archive_extension, unpack
from mmirstd.datasets.prepare.checks import Facts, Finding, examine
from mmirstd.datasets.prepare.layouts import Found, Pair, SourceError, describe_layouts, find_archives, find_set
from mmirstd.datasets.prepare.report import REPORTS, Report
from mmirstd.datasets.prepare.sets import SetInfo
from mmirstd.datasets.prepare.splits import (
    draw_lists,
    find_duplicates,
    find_leaks,
    find_missing,
    published_ids,
    read_found_lists,
)
from mmirstd.datasets.prepare.writing import Item, Link, compare, write
from mmirstd.io.ids import parse_ids
from mmirstd.utils.text import abridge

# Lists as repositories put them beside images and masks.
LIST_PATTERNS = ('*.txt', 'idx_*/*.txt', 'img_idx/*.txt', 'splits/*.txt', '50_50/*.txt')

# Called with what is being done, how much of it is done, and how much there is.
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Options:
    """How to prepare; see ``tools/dataset_converters/prepare_dataset.py --help``."""

    link: Link = None
    overwrite: bool = False
    skip_bad: bool = False
    binarise: bool = False
    threshold: float = 127
    ratios: tuple[float, float, float] = (0.7, 0.1, 0.2)
    seed: int = 0
    workers: int = 4
    limits: Limits = field(default_factory=Limits)


def prepare(
    info: SetInfo,
    sources: Sequence[Path],
    out: Path | None,
    options: Options = Options(),
    progress: Progress = lambda what, done, total: None,
) -> Report:
    """Check a download, and write what is good to ``out``.

    A set with errors is not written unless ``options.skip_bad`` leaves the bad pairs out. What was unpacked from
    archives is removed in the end; if the process is killed it stays in ``OUT.unpacked`` for the next run.

    Args:
        info: The set.
        sources: Folders or archives that together hold it.
        out: Where to write; None to check only.
        options: How.
        progress: Told what is being done.

    Returns:
        The report, which says whether the set is usable. It is not written.

    Raises:
        SourceError: If the sources do not hold the set.
        ArchiveError: If an archive is damaged or not to be trusted.
        ConflictError: If other files are where the set would be written.
    """
    with unpacked(info, sources, out, options.limits, progress) as (found, temporary):
        report, pairs, pixels = check(info, sources, found, options, progress)
        if out is None:
            report.outcome = 'Checked only, nothing written.'
        elif not report.usable:
            report.outcome = 'Nothing written.'
            if report.num:
                report.outcome += ' --skip-bad would leave the bad pairs out.'
        else:
            report.out = str(out)
            lists = _lists_to_write(info, found, pixels, options, report)
            items = [*_items(pairs, report, options), *lists]
            _write(out, [_with_link(item, temporary, options) for item in items], options, report, progress)
            _read_back(info, out, list(pixels), lists, report)
    return report


@contextmanager
def unpacked(
    info: SetInfo, sources: Sequence[Path], out: Path | None, limits: Limits, progress: Progress
) -> Iterator[tuple[Found, Path]]:
    """Find the set in folders and archives, which are unpacked to a temporary folder; give both, and remove it."""
    for source in sources:
        if not source.exists():
            raise SourceError(f'{source} does not exist')
        if source.is_file() and not archive_extension(source):
            raise SourceError(_not_an_archive(source, info))
    temporary = Path(tempfile.mkdtemp(prefix='mmirstd-')) if out is None else out.with_name(f'{out.name}.unpacked')
    try:
        yield _find(info, sources, out, temporary, limits, progress), temporary
    except KeyboardInterrupt:
        # The next run goes on from here, as after a kill.
        if out is None:
            shutil.rmtree(temporary, ignore_errors=True)
        raise
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    else:
        shutil.rmtree(temporary, ignore_errors=True)


def _find(
    info: SetInfo, sources: Sequence[Path], out: Path | None, temporary: Path, limits: Limits, progress: Progress
) -> Found:
    folders = [s for s in sources if s.is_dir()]
    archives = done = [s for s in sources if not s.is_dir()]
    # Not what an earlier run made of it, unless nothing else is there.
    skip = [temporary] if out is None else [temporary, out]
    skipped: list[str] = []
    inner: list[Path] = []
    for _ in range(3):  # archives in a repository's own archive are as deep as it gets
        for archive in archives:
            folder, others = unpack(archive, temporary, limits, partial(progress, f'unpacking {archive.name}'))
            folders.append(folder)
            skipped += others
        near = [a.parent for a in done if a not in sources]
        if found := _search(info, folders, skip, near) or _search(info, folders, [temporary], near):
            break
        inner = [a for root in folders for folder in (root, *_subfolders(root)) for a in find_archives(folder)]
        archives = [a for a in inner if a not in done and archive_extension(a) and _belongs(a, info)]
        done = done + archives
        if not archives:
            break
    # A folder of the set was given in place of the set, such as .../images.
    if len(sources) == 1 and sources[0].is_dir() and (found is None or found.missing):
        folder = sources[0].resolve()
        if _plain_name(folder.name) in _folder_names(info):
            found = _search(info, [folder.parent], skip) or found
    if found is None:
        raise SourceError(_describe_failure(info, sources, [a for a in inner if a not in done]))
    return found._replace(extra=found.extra + skipped)


def _search(info: SetInfo, folders: Sequence[Path], skip: Sequence[Path], near: Sequence[Path] = ()) -> Found | None:
    """Look for what the dataset class reads, and if that is not there, or not clearly, for copies in other layouts."""
    search = partial(find_set, folders, names=(*info.aliases, info.name), lists=LIST_PATTERNS, skip=skip, near=near)
    try:
        if found := search(info.layouts):
            return found
    except SourceError:
        if not (found := search(info.copies)) or found.missing:
            raise
        return found
    found = search(info.copies)
    return found if found and not found.missing else None


def _describe_failure(info: SetInfo, sources: Sequence[Path], archives: Sequence[Path]) -> str:
    message = (
        f'no {info.name} in {", ".join(map(str, sources))}: expected are folders of images and masks named '
        f'{describe_layouts(info.layouts + info.copies)}'
    )
    if foreign := [a for a in archives if not archive_extension(a)]:
        message += f'. {_not_an_archive(foreign[0], info)}'
    elif archives:
        message += f'. If it is in {abridge([str(a) for a in archives])}, give that as source'
    return message + (f'. {info.page}: {info.download}' if info.page else '')


def _belongs(archive: Path, info: SetInfo) -> bool:
    """Whether an archive that was found is named like the set, or like one of its folders."""
    name = _plain_name(archive.name[: -len(archive_extension(archive))])
    return name in _folder_names(info) or any(name.startswith(_plain_name(n)) for n in (info.name, *info.aliases))


def _folder_names(info: SetInfo) -> set[str]:
    names = (name for layout in info.layouts + info.copies for part in layout for name in part.source[:2])
    return {_plain_name(part) for name in names for part in name.split('/')}


def _plain_name(name: str) -> str:
    return ''.join(c for c in name.casefold() if c.isalnum())


def check(
    info: SetInfo, sources: Sequence[Path], found: Found, options: Options, progress: Progress
) -> tuple[Report, list[Pair], dict[str, str]]:
    """Look at every file; return the report, the good pairs, and the hashes of their pixels by id."""
    report = Report(info.name, [str(s) for s in sources], skip_bad=options.skip_bad)
    add = report.findings.extend
    ids = [p.id for p in found.pairs]
    corrupt = set(info.dataset(data_root='.', lazy_init=True).corrupt_ids(ids)) & set(ids)
    add(Finding('ambiguous', a.name, f'and {b.name}, in {a.parent.name}') for a, b in found.ambiguous)
    add(Finding('missing-part', f'{part.img_dir}, {part.mask_dir}') for part in found.missing)
    add(Finding('known-corrupt', i) for i in ids if i in corrupt)
    sound = [p for p in found.pairs if p.id not in corrupt]
    add(Finding('no-mask', p.image_to) for p in sound if not p.mask)
    add(Finding('no-image', p.mask_to) for p in sound if not p.image)
    complete = [p for p in sound if p.image and p.mask]
    facts = list(_examine(info, complete, options, progress))
    add(f for fact in facts for f in fact.findings)
    good = [(pair, fact) for pair, fact in zip(complete, facts, strict=True) if fact.usable]
    pairs, pixels = [pair for pair, _ in good], {pair.id: fact.pixels for pair, fact in good}
    report.left_out = [i for i in ids if i not in pixels]
    report.num, report.num_found = len(pairs), len(ids)
    _summarise(report, [fact for _, fact in good])
    add(_count(info, len(complete), report.num_empty))
    splits, came = published_ids(info.dataset, ids), read_found_lists(found.lists, ids)
    add(find_missing({k: v for k, v in {**splits, **came}.items() if not k.endswith('/subtrain')}, ids))
    add(find_leaks({**splits, **came}, pixels))
    add(find_duplicates(pixels, {p.id: p.image_to for p in pairs}))
    others = [*found.extra, *(to for to in found.lists if to not in came)]
    add(Finding('extra', path) for path in others if os.path.basename(path) not in REPORTS)
    return report, pairs, pixels


def _count(info: SetInfo, num: int, num_empty: int) -> Iterator[Finding]:
    expected = info.num and info.num - len(info.dataset.CORRUPT_IDS)
    if expected is not None and num != expected:
        yield Finding('count', info.name, f'{num:,} pairs, published are {expected:,}')
    elif info.num_empty is not None and num_empty != info.num_empty:
        yield Finding('count', info.name, f'{num_empty:,} masks without a target, published are {info.num_empty:,}')


def _examine(info: SetInfo, pairs: Sequence[Pair], options: Options, progress: Progress) -> Iterator[Facts]:
    def look(pair: Pair) -> Facts:
        return examine(pair, options.threshold, pair.id in info.dataset.MASK_RESIZE_IDS)

    with ThreadPoolExecutor(options.workers) as pool:
        for done, facts in enumerate(pool.map(look, pairs), 1):
            progress('checking', done, len(pairs))
            yield facts


def _summarise(report: Report, facts: Sequence[Facts]) -> None:
    if not facts:
        return
    widths, heights = zip(*(f.size for f in facts), strict=True)
    report.min_size, report.max_size = (min(widths), min(heights)), (max(widths), max(heights))
    report.modes = dict(Counter(f.mode for f in facts).most_common())
    report.mask_modes = dict(Counter(f.mask_mode for f in facts).most_common())
    report.num_empty = sum(f.target_pixels == 0 for f in facts)


def _items(pairs: Sequence[Pair], report: Report, options: Options) -> Iterator[Item]:
    unclean = {f.file for f in report.findings if f.kind in ('not-binary', 'labels-01', 'mask-channels')}
    for pair in pairs:
        yield Item(pair.image_to, pair.image)
        if options.binarise and pair.mask_to in unclean:
            yield Item(os.path.splitext(pair.mask_to)[0] + '.png', pair.mask, binarise=True)
        else:
            yield Item(pair.mask_to, pair.mask)


def _lists_to_write(
    info: SetInfo, found: Found, pixels: dict[str, str], options: Options, report: Report
) -> list[Item]:
    """Lists that came with the set, as they are; where neither they nor published ones are there, drawn ones."""
    came = [Item(to, found.lists[to]) for to in read_found_lists(found.lists, list(pixels))]
    if came or published_ids(info.dataset, []):
        return came
    try:
        drawn = draw_lists(pixels, options.ratios, options.seed)
    except ValueError as error:
        report.outcome = f'No lists: {error}.'
        return []
    return [Item(f'{part}.txt', content=''.join(f'{i}\n' for i in ids).encode()) for part, ids in drawn.items()]


def _with_link(item: Item, temporary: Path, options: Options) -> Item:
    """Say how to write an item: what was unpacked is ours."""
    if item.source is None or item.binarise:
        return item
    if item.source.is_relative_to(temporary):
        if options.link == 'symbolic':
            raise SourceError('what is unpacked from an archive is removed in the end: no symbolic links to it')
        return item._replace(link='own')
    return item._replace(link=options.link)


def _write(out: Path, items: Sequence[Item], options: Options, report: Report, progress: Progress) -> None:
    def counter(what: str, total: int) -> Callable[[], None]:
        numbers = iter(range(1, total + 1))
        return lambda: progress(what, next(numbers), total)

    state = compare(items, out, options.threshold, counter('comparing', len(items)))
    step = counter('writing', len(state.missing) + len(state.different))
    written = write(state, out, overwrite=options.overwrite, threshold=options.threshold, progress=step)
    there = f', {len(state.same)} were there already' if state.same else ''
    done = f'{written} files written to {out}{there}'
    if not written:
        done = f'Already prepared: all {len(state.same)} files in {out} are the same, nothing written'
    report.outcome = f'{report.outcome} {done}.'.strip()


def _read_back(info: SetInfo, out: Path, ids: Sequence[str], lists: Sequence[Item], report: Report) -> None:
    """Let the dataset class read what was written, by every list.

    Raises:
        SourceError: If it finds other images than were written.
    """
    build = partial(info.dataset, data_root=str(out), serialize_data=False)
    read = build().img_ids
    if others := sorted(set(read) ^ set(ids)):
        raise SourceError(
            f'{out} holds other images than those prepared, {len(others)} such as {abridge(others)}; '
            'choose an empty --out, or move them away'
        )
    report.splits = {'all': len(read)}
    known = [*ids, *info.dataset.CORRUPT_IDS]
    named = [(name, 'split', listed) for name, listed in published_ids(info.dataset, ids).items()]
    named += [(item.to, 'ann_file', parse_ids((out / item.to).read_text(encoding='utf-8'), item.to)) for item in lists]
    for name, argument, listed in named:
        if missing := find_missing({name: listed}, known):
            report.incomplete[name] = len(missing)
        elif listed:
            report.splits[name] = len(build(**{argument: name}))


def _not_an_archive(path: Path, info: SetInfo) -> str:
    if archive_extension(path, FOREIGN_EXTENSIONS):
        return (
            f'{path}: RAR and 7z archives cannot be read; unpack it with "unrar x {path.name}" or "7z x {path.name}" '
            f'(of several parts the first), and give the folder'
        )
    return f'{path} is neither a folder nor a zip or tar archive' + (
        f'; {info.name}: {info.download}' if info.page else ''
    )


def _subfolders(root: Path) -> list[Path]:
    return [p for p in sorted(root.iterdir()) if p.is_dir() and not p.name.startswith('.')]
