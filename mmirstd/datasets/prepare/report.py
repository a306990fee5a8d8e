"""What was found and done, for people and for programs."""

import json
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from mmirstd import __version__
from mmirstd.datasets.prepare.checks import ERROR, KINDS, NOTE, WARNING, FileFinding
from mmirstd.io.files import refuse_overwriting, write_atomically
from mmirstd.io.tables import json_bytes

TOOL = 'prepare_dataset'
# The first can be recognized, and is written first.
REPORTS = ('report.json', 'report.md')
SHOWN = 5


@dataclass
class PreparationReport:
    """All about one run. ``usable`` is the answer; what was left out because it was asked for does not count.

    ``num`` of ``num_found`` ids are good. ``modes`` and ``mask_modes`` count Pillow's names of the pixels; sizes are
    (width, height), each axis by itself. ``splits`` gives the number of images of each published or written split that
    the dataset class read, ``incomplete`` how many ids others lack.
    """

    dataset: str
    sources: list[str]
    out: str = ''
    num: int = 0
    num_found: int = 0
    num_empty: int = 0
    min_size: tuple[int, int] = (0, 0)
    max_size: tuple[int, int] = (0, 0)
    modes: dict[str, int] = field(default_factory=dict)
    mask_modes: dict[str, int] = field(default_factory=dict)
    splits: dict[str, int] = field(default_factory=dict)
    incomplete: dict[str, int] = field(default_factory=dict)
    findings: list[FileFinding] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    skip_bad: bool = False
    outcome: str = ''
    written_to: list[Path] = field(default_factory=list)

    @property
    def usable(self) -> bool:
        """Whether the set, without what was left out on request, has no error and at least one pair."""
        return self.num > 0 and (self.skip_bad or not self.of_level(ERROR))

    def of_level(self, level: str) -> dict[str, list[FileFinding]]:
        """Findings of one level by kind, in the order of ``KINDS``."""
        return {
            kind: found
            for kind, (its_level, _) in KINDS.items()
            if its_level == level and (found := [f for f in self.findings if f.kind == kind])
        }

    def to_json(self) -> str:
        """Everything but the outcome and where this is written, so that preparing again leaves the same file."""
        findings = [dict(level=f.level, **f._asdict()) for f in self.findings]
        fields = {k: v for k, v in vars(self).items() if k not in ('findings', 'outcome', 'written_to')}
        content = {'tool': TOOL, 'version': __version__, 'usable': self.usable, **fields, 'findings': findings}
        return json_bytes(content).decode()

    def to_text(self) -> str:
        """A summary of a screen or less."""
        return '\n'.join(
            [*self._summary(), *self._groups(SHOWN, '  {}', '      {}'), f'{self.verdict()} {self.outcome}']
        )

    def to_markdown(self) -> str:
        """The same, to be read; other files are counted by folder."""
        summary = [f'- {line.strip()}' for line in self._summary()[1:]]
        groups = self._groups(None, '\n## {}\n', '- {}')
        return '\n'.join([f'# {self.dataset}', '', self.verdict(), '', *summary, *groups, ''])

    def verdict(self) -> str:
        """One line."""
        counts = Counter(f.level for f in self.findings)
        numbers = ', '.join(f'{counts[level]} {level}{"s" * (counts[level] != 1)}' for level in (ERROR, WARNING, NOTE))
        answer = 'usable' if self.usable else 'NOT USABLE'
        if self.usable and counts[ERROR]:
            answer += ' without the pairs with errors'
        return f'{answer}: {numbers}.'

    def _summary(self) -> list[str]:
        lines = [f'{self.dataset} from {", ".join(self.sources)}']
        lines.append(
            f'  {self.num} good pairs of image and mask of {self.num_found} ids; {self.num_empty} without a target'
        )
        if self.num:
            sizes = (
                f'{_size(self.min_size)} to {_size(self.max_size)}'
                if self.min_size != self.max_size
                else _size(self.max_size)
            )
            lines.append(f'  size: {sizes}; image modes: {_counts(self.modes)}; mask modes: {_counts(self.mask_modes)}')
        lines += [f'  {source}: {parts}' for source, parts in _by_source(self.splits).items()]
        if self.incomplete:
            lines.append('  splits that lack images: ' + ', '.join(f'{k} {v}' for k, v in self.incomplete.items()))
        return lines

    def _groups(self, limit: int | None, title: str, item: str) -> list[str]:
        lines = []
        for level in (ERROR, WARNING, NOTE):
            for kind, found in self.of_level(level).items():
                lines.append(title.format(f'{level} ({len(found)}): {KINDS[kind][1]}'))
                shown = _by_folder(found) if kind == 'extra' else [_line(f) for f in found]
                lines += [item.format(line) for line in shown[:limit]]
                if limit and len(shown) > limit:
                    lines.append(item.format(f'... and {len(shown) - limit} more'))
        return lines

    def write(self, folder: Path, overwrite: bool = False) -> None:
        """Write ``report.json`` and ``report.md``; files of that name which are not from here stay.

        Raises:
            FileExistsError: If there are such.
        """
        check_report_folder(folder, overwrite)
        self.written_to = [folder / name for name in reversed(REPORTS)]
        for name, content in zip(REPORTS, (self.to_json(), self.to_markdown()), strict=True):
            path = folder / name
            if not path.is_file() or path.read_text(encoding='utf-8') != content:
                write_atomically(path, content)


def check_report_folder(folder: Path, overwrite: bool = False) -> None:
    """See that a report would replace none but its like.

    Raises:
        FileExistsError: If it would.
    """
    try:
        ours = json.loads((folder / REPORTS[0]).read_text(encoding='utf-8')).get('tool') == TOOL
    except (OSError, ValueError, AttributeError):
        ours = False
    try:
        refuse_overwriting([folder / name for name in REPORTS], overwrite or ours)
    except FileExistsError as error:
        raise FileExistsError(f'not a report of mmirstd prepare: {error}') from None


def _line(finding: FileFinding) -> str:
    return f'{finding.file} ({finding.detail})' if finding.detail else finding.file


def _by_folder(found: list[FileFinding]) -> list[str]:
    """Count other files by folder and extension; a single one keeps its name."""
    groups: dict[tuple[str, str], list[str]] = {}
    for f in found:
        path = PurePosixPath(f.file)
        groups.setdefault((str(path.parent), path.suffix), []).append(f.file)
    return [
        files[0] if len(files) == 1 else f'{folder}/*{suffix}: {len(files)} files'
        for (folder, suffix), files in groups.items()
    ]


def _by_source(splits: dict[str, int]) -> dict[str, str]:
    """Join the parts of each source: ``{'irsam': 'train 341, test 86'}``."""
    groups: dict[str, list[str]] = {}
    for name, num in splits.items():
        source, _, part = name.rpartition('/')
        is_split = source or part.endswith('.txt')
        groups.setdefault(f'split {source}'.rstrip() if is_split else 'dataset', []).append(f'{part} {num}')
    return {source: ', '.join(parts) for source, parts in groups.items()}


def _counts(counts: dict[str, int]) -> str:
    return ', '.join(f'{name} {num}' for name, num in counts.items())


def _size(size: tuple[int, int]) -> str:
    return f'{size[0]}x{size[1]}'
