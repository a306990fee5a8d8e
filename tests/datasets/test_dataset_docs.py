"""docs/reference/datasets.md names what is there."""

import re
from pathlib import Path

import pytest

from mmirstd import datasets
from mmirstd.datasets.layout import Layout
from mmirstd.datasets.published_splits import ALIASES, OFFICIAL_SPLITS, published_splits

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / 'docs/reference/datasets.md').read_text()
PUBLIC = [cls for name in datasets.__all__ if getattr(cls := getattr(datasets, name), 'NAME', None) is not None]


def test_every_test_of_a_trap_exists():
    rules = TEXT[TEXT.index('## Traps') : TEXT.index('Relations between')]
    rows = [row for row in rules.splitlines() if row.startswith('|')][2:]
    assert len(rows) > 15
    for row in rows:
        file = None
        named = re.findall(r'`(test_\w+\.py)?(?:::)?(test_\w+)?`', row.rsplit(' | ', 1)[1])
        assert named or row.endswith('| the same |'), row
        for name, function in named:
            file = name or file
            source = (Path(__file__).parent / file).read_text()
            assert not function or f'def {function}(' in source, (file, function)


@pytest.mark.parametrize('cls', PUBLIC)
def test_every_set_is_in_the_tables(cls):
    assert f'`{cls.__name__}` | `data/{cls.NAME}`' in TEXT
    splits = published_splits(cls.NAME) + list(OFFICIAL_SPLITS if cls.OFFICIAL_PARTS else ())
    sources = {split.split('/')[0] for split in splits}
    sources |= {alias for dataset, alias in ALIASES if dataset == cls.NAME}
    (row,) = (row for row in TEXT.splitlines() if re.match(rf'\| {cls.NAME.replace("-v2", " v2")} \| \[', row))
    for source in sources:
        assert f'`{source}`' in row
    for layout in cls.LAYOUTS:
        for part in [layout] if isinstance(layout, Layout) else layout:
            folder = part.img_dir.split('/')[0]
            assert f'`{folder}/' in row
