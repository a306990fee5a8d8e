"""The whole way from a download to a folder that a dataset class reads."""

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from mmengine.logging import MMLogger

from mmirstd.datasets.prepare.archives import ArchiveLimits
from mmirstd.datasets.prepare.checks import FileFinding, PairFacts, examine
from mmirstd.datasets.prepare.errors import SourceError
from mmirstd.datasets.prepare.layouts import FoundSet, SourcePair
from mmirstd.datasets.prepare.report import REPORTS, PreparationReport, check_report_folder
from mmirstd.datasets.prepare.sets import SetInfo, find_info
from mmirstd.datasets.prepare.sources import unpacked
from mmirstd.datasets.prepare.splits import (
    draw_lists,
    find_duplicates,
    find_leaks,
    find_missing,
    list_suffixes,
    published_ids,
    read_found_lists,
)
from mmirstd.datasets.prepare.writing import Link, OutputFile, compare, write
from mmirstd.io.masks import MASK_THRESHOLD
from mmirstd.utils.errors import ArgumentError
from mmirstd.utils.locks import output_lock
from mmirstd.utils.progress import progress_bar
from mmirstd.utils.text import abridge


@dataclass(frozen=True)
class PrepareOptions:
    """How to prepare, see :func:`prepare`."""

    link: Link = None
    overwrite: bool = False
    skip_bad: bool = False
    binarize: bool = False
    threshold: float = MASK_THRESHOLD
    ratios: tuple[float, float, float] = (0.7, 0.1, 0.2)
    seed: int = 0
    workers: int = 4
    limits: ArchiveLimits = field(default_factory=ArchiveLimits)

    def __post_init__(self) -> None:
        ratios = self.ratios
        if len(ratios) != 3 or min(ratios) < 0 or ratios[0] == 0 or abs(sum(ratios) - 1) > 1e-6:
            raise ArgumentError(f'ratios must be three numbers >= 0, the first > 0, that add up to 1, got {ratios}')
        if self.threshold < 0 or self.seed < 0 or self.workers < 1:
            raise ArgumentError(
                f'threshold and seed must be >= 0, workers >= 1, got {self.threshold}, {self.seed}, {self.workers}'
            )
        if self.limits.total_bytes <= 0:
            raise ArgumentError('the limit of what archives unpack to (max_gib) must be > 0')


def prepare(
    name: str,
    sources: str | Path | Sequence[str | Path],
    out: str | Path | None = None,
    *,
    check_only: bool = False,
    report_dir: str | Path | None = None,
    link: Link = None,
    overwrite: bool = False,
    skip_bad: bool = False,
    binarize: bool = False,
    threshold: float = MASK_THRESHOLD,
    ratios: Sequence[float] = (0.7, 0.1, 0.2),
    seed: int = 0,
    workers: int | None = None,
    max_gib: float = 128,
) -> PreparationReport:
    """Check a download of a public set, or your own data, and prepare it for its dataset class.

    Every image and mask is decoded completely. Files are copied as they are. A set can be prepared again at any time:
    files that are there are compared, and an interrupted run is completed.

    Args:
        name: Key of the set in :data:`SETS`, or its name in any spelling; ``'folder'`` for your own data.
        sources: What was downloaded: a folder, also one above or below the right one, a zip or tar archive, or several
            that together hold the set.
        out: Where to write; by default ``data/`` and the name of the set. Needed for your own data.
        check_only: Write nothing but the report, and that only if ``report_dir`` is given.
        report_dir: Where to write ``report.md`` and ``report.json``; by default ``out``.
        link: Link to the files instead of copying them: ``'hard'`` or ``'symbolic'``.
        overwrite: Allow replacing files in ``out`` that differ.
        skip_bad: Leave out pairs with errors instead of writing nothing.
        binarize: Write masks that are not {0, 255} with one channel as such; without, masks are as published.
        threshold: Mask values above it are target.
        ratios: Shares of the splits train, val and test that are drawn where a set has none.
        seed: Of these splits.
        workers: Threads that decode; by default one per processor.
        max_gib: Refuse archives that unpack to more, in GiB.

    Returns:
        The report; its ``usable`` is the answer.

    Raises:
        ArgumentError: If an argument is wrong.
        PrepareError: If the sources do not hold the set (:class:`SourceError`), or an archive is damaged or not to be
            trusted (:class:`ArchiveError`).
        FileExistsError: If something that is not from here would be replaced or removed; nothing is written then.
        FolderInUseError: If another process prepares a set in ``out``.
        OSError: If the disk is full or fails.
    """
    info = find_info(name)
    sources = [Path(s) for s in ([sources] if isinstance(sources, str | Path) else sources)]
    if not sources:
        raise ArgumentError('no source is given: a folder or an archive')
    if out is None and not check_only:
        if info.key == 'folder':
            raise ArgumentError('your own data need a place to be written to: give --out (out=...)')
        out = Path('data') / info.name
    options = PrepareOptions(
        link, overwrite, skip_bad, binarize, threshold, tuple(ratios), seed,
        (os.cpu_count() or 1) if workers is None else workers, ArchiveLimits(total_bytes=int(max_gib * 2**30)),
    )  # fmt: skip
    out = None if check_only else Path(out)
    folder = Path(report_dir) if report_dir else out
    if folder:
        check_report_folder(folder, overwrite)
    # What the dataset class says of its splits is in the report.
    logger = MMLogger.get_current_instance()
    level = logger.level
    logger.setLevel('ERROR')
    try:
        with output_lock(out) if out else nullcontext():
            report = prepare_set(info, sources, out, options)
            if folder:
                report.write(folder, overwrite)
    finally:
        logger.setLevel(level)
    return report


def prepare_set(
    info: SetInfo, sources: Sequence[Path], out: Path | None, options: PrepareOptions = PrepareOptions()
) -> PreparationReport:
    """Check a download, and write what is good to ``out``, without the report; see :func:`prepare`.

    A set with errors is not written unless ``options.skip_bad`` leaves the bad pairs out. What was unpacked from
    archives is removed in the end; if the process is killed it stays in ``OUT.unpacked`` for the next run.

    Args:
        info: The set.
        sources: Folders or archives that together hold it.
        out: Where to write; None to check only.
        options: How.

    Returns:
        The report, which says whether the set is usable.

    Raises:
        SourceError: If the sources do not hold the set.
        ArchiveError: If an archive is damaged or not to be trusted.
        FileExistsError: If other files are where the set would be written or unpacked.
    """
    with unpacked(info, sources, out, options.limits) as (found, temporary):
        report, pairs, pixels = check(info, sources, found, options)
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
            _write(out, [_with_link(item, temporary, options) for item in items], options, report)
            _read_back(info, out, list(pixels), lists, report)
    return report


def check(
    info: SetInfo, sources: Sequence[Path], found: FoundSet, options: PrepareOptions
) -> tuple[PreparationReport, list[SourcePair], dict[str, str]]:
    """Look at every file; return the report, the good pairs, and the hashes of their pixels by id."""
    report = PreparationReport(info.name, [str(s) for s in sources], skip_bad=options.skip_bad)
    add = report.findings.extend
    ids = [p.id for p in found.pairs]
    corrupt = set(info.dataset(data_root='.', lazy_init=True).corrupt_ids(ids)) & set(ids)
    add(FileFinding('ambiguous', a.name, f'and {b.name}, in {a.parent.name}') for a, b in found.ambiguous)
    add(FileFinding('missing-part', f'{part.img_dir}, {part.mask_dir}') for part in found.missing)
    add(FileFinding('known-corrupt', i) for i in ids if i in corrupt)
    sound = [p for p in found.pairs if p.id not in corrupt]
    add(FileFinding('no-mask', p.image_to) for p in sound if not p.mask)
    add(FileFinding('no-image', p.mask_to) for p in sound if not p.image)
    complete = [p for p in sound if p.image and p.mask]
    facts = _examine(info, complete, options)
    add(f for fact in facts for f in fact.findings)
    good = [(pair, fact) for pair, fact in zip(complete, facts, strict=True) if fact.usable]
    pairs, pixels = [pair for pair, _ in good], {pair.id: fact.pixels for pair, fact in good}
    report.left_out = [i for i in ids if i not in pixels]
    report.num, report.num_found = len(pairs), len(ids)
    _summarize(report, [fact for _, fact in good])
    add(_count(info, len(complete), report.num_empty))
    splits = published_ids(info.dataset, ids)
    came, unreadable = read_found_lists(found.lists, ids, list_suffixes(info))
    add(unreadable)
    add(find_missing({k: v for k, v in {**splits, **came}.items() if not k.endswith('/subtrain')}, ids))
    add(find_leaks({**splits, **came}, pixels))
    add(find_duplicates(pixels, {p.id: p.image_to for p in pairs}))
    others = [*found.extra, *(to for to in found.lists if to not in came and to not in {f.file for f in unreadable})]
    add(FileFinding('extra', path) for path in others if os.path.basename(path) not in REPORTS)
    return report, pairs, pixels


def _count(info: SetInfo, num: int, num_empty: int) -> Iterator[FileFinding]:
    expected = info.num and info.num - len(info.dataset.CORRUPT_IDS)
    if expected is not None and num != expected:
        yield FileFinding('count', info.name, f'{num:,} pairs, published are {expected:,}')
    elif info.num_empty is not None and num_empty != info.num_empty:
        yield FileFinding('count', info.name, f'{num_empty:,} masks without a target, published are {info.num_empty:,}')


def _examine(info: SetInfo, pairs: Sequence[SourcePair], options: PrepareOptions) -> list[PairFacts]:
    def look(pair: SourcePair) -> PairFacts:
        return examine(pair, options.threshold, pair.id in info.dataset.MASK_RESIZE_IDS)

    with ThreadPoolExecutor(options.workers) as pool:
        return list(progress_bar(pool.map(look, pairs), 'checking', len(pairs)))


def _summarize(report: PreparationReport, facts: Sequence[PairFacts]) -> None:
    if not facts:
        return
    widths, heights = zip(*(f.size for f in facts), strict=True)
    report.min_size, report.max_size = (min(widths), min(heights)), (max(widths), max(heights))
    report.modes = dict(Counter(f.mode for f in facts).most_common())
    report.mask_modes = dict(Counter(f.mask_mode for f in facts).most_common())
    report.num_empty = sum(f.target_pixels == 0 for f in facts)


def _items(pairs: Sequence[SourcePair], report: PreparationReport, options: PrepareOptions) -> Iterator[OutputFile]:
    unclean = {f.file for f in report.findings if f.kind in ('not-binary', 'labels-01', 'mask-channels')}
    for pair in pairs:
        yield OutputFile(pair.image_to, pair.image)
        if options.binarize and pair.mask_to in unclean:
            yield OutputFile(os.path.splitext(pair.mask_to)[0] + '.png', pair.mask, binarize=True)
        else:
            yield OutputFile(pair.mask_to, pair.mask)


def _lists_to_write(
    info: SetInfo, found: FoundSet, pixels: dict[str, str], options: PrepareOptions, report: PreparationReport
) -> list[OutputFile]:
    """Lists that came with the set, as they are; where neither they nor published ones are there, drawn ones."""
    lists, _ = read_found_lists(found.lists, list(pixels), list_suffixes(info))
    came = [OutputFile(to, found.lists[to]) for to in lists]
    if came or published_ids(info.dataset, []):
        return came
    try:
        drawn = draw_lists(pixels, options.ratios, options.seed)
    except ValueError as error:
        report.outcome = f'No splits: {error}.'
        return []
    return [OutputFile(f'{part}.txt', content=''.join(f'{i}\n' for i in ids).encode()) for part, ids in drawn.items()]


def _with_link(item: OutputFile, temporary: Path, options: PrepareOptions) -> OutputFile:
    """Say how to write an item: what was unpacked is ours."""
    if item.source is None or item.binarize:
        return item
    if item.source.is_relative_to(temporary):
        if options.link == 'symbolic':
            raise SourceError('what is unpacked from an archive is removed in the end: no symbolic links to it')
        return item._replace(link='own')
    return item._replace(link=options.link)


def _write(out: Path, items: Sequence[OutputFile], options: PrepareOptions, report: PreparationReport) -> None:
    state = compare(items, out, options.threshold)
    written = write(state, out, overwrite=options.overwrite, threshold=options.threshold)
    there = f', {len(state.same)} were there already' if state.same else ''
    done = f'{written} files written to {out}{there}'
    if not written:
        done = f'Already prepared: all {len(state.same)} files in {out} are the same, nothing written'
    report.outcome = f'{report.outcome} {done}.'.strip()


def _read_back(
    info: SetInfo, out: Path, ids: Sequence[str], lists: Sequence[OutputFile], report: PreparationReport
) -> None:
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
    written, _ = read_found_lists({item.to: out / item.to for item in lists}, ids, list_suffixes(info))
    named += [(name, 'ann_file', listed) for name, listed in written.items()]
    for name, argument, listed in named:
        if missing := find_missing({name: listed}, known):
            report.incomplete[name] = len(missing)
        elif listed:
            report.splits[name] = len(build(**{argument: name}))
