"""Draw the import layers, from the contract in pyproject.toml and the imports of the code, as docs/pictures/layers.svg.

``python .ci/layers.py`` writes the picture, ``--check`` fails where it is out of date. An arrow that follows from two
others is left out.
"""

import argparse
import re
import sys
from itertools import permutations
from pathlib import Path

import grimp
from importlinter.api import read_configuration

ROOT = Path(__file__).resolve().parents[1]
PICTURE = ROOT / 'docs/pictures/layers.svg'
# Of a box and of the steps from box to box, in pixels.
WIDTH, HEIGHT, RIGHT, DOWN = 120, 34, 160, 80
HEADER = """<svg xmlns="http://www.w3.org/2000/svg" width="{0}" height="{1}" viewBox="0 0 {0} {1}"
     font-family="sans-serif" font-size="14" text-anchor="middle">
  <marker id="tip" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="7" markerHeight="7" orient="auto">
    <path d="M0 0L8 4L0 8z" fill="#888"/>
  </marker>
  <rect width="100%" height="100%" fill="#fff"/>"""


def read_layers() -> list[list[str]]:
    """Return the packages of each layer, topmost layer first."""
    contracts = read_configuration(str(ROOT / 'pyproject.toml'))['contracts_options']
    (contract,) = (c for c in contracts if c['id'] == 'layers')
    return [re.split(r'\s*[|:]\s*', line) for line in contract['layers']]


def find_arrows(packages: list[str]) -> list[tuple[str, str]]:
    """Return the pairs (importer, imported) of packages, without those that follow from a longer way."""
    graph = grimp.build_graph('mmirstd', exclude_type_checking_imports=True)
    modules = {name: {f'mmirstd.{name}', *graph.find_descendants(f'mmirstd.{name}')} for name in packages}
    owner = {module: name for name, members in modules.items() for module in members}
    below: dict[str, set[str]] = {name: set() for name in packages}
    for module, name in owner.items():
        below[name] |= {owner[m] for m in graph.find_modules_directly_imported_by(module) if m in owner} - {name}

    def reach(start: str) -> set[str]:
        found: set[str] = set()
        waiting = [start]
        while waiting:
            new = below[waiting.pop()] - found
            found |= new
            waiting += new
        return found

    implied = {(a, c) for a, b in permutations(packages, 2) if b in below[a] for c in reach(b)}
    return [(a, b) for a in packages for b in packages if b in below[a] and (a, b) not in implied]


def draw() -> str:
    """Return the picture: a row for each layer, an arrow from a package to one that it imports."""
    layers = read_layers()
    width, height = max(map(len, layers)) * RIGHT, len(layers) * DOWN
    place = {
        name: (width // 2 + (2 * column - len(names) + 1) * RIGHT // 2, row * DOWN + DOWN // 2)
        for row, names in enumerate(layers)
        for column, name in enumerate(names)
    }
    lines = [HEADER.format(width, height)]
    for a, b in find_arrows(list(place)):
        (x1, y1), (x2, y2) = place[a], place[b]
        ends = f'x1="{x1}" y1="{y1 + HEIGHT // 2}" x2="{x2}" y2="{y2 - HEIGHT // 2}"'
        lines.append(f'  <line {ends} stroke="#888" marker-end="url(#tip)"/>')
    for name, (x, y) in place.items():
        box = f'x="{x - WIDTH // 2}" y="{y - HEIGHT // 2}" width="{WIDTH}" height="{HEIGHT}"'
        lines.append(f'  <rect {box} rx="6" fill="#e8eaf6" stroke="#3f51b5"/>')
        lines.append(f'  <text x="{x}" y="{y + 5}">{name}</text>')
    return '\n'.join([*lines, '</svg>', ''])


def main() -> int:
    """Redraw the diagram, or check it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--check', action='store_true', help='fail where the diagram is out of date, and write nothing')
    check = parser.parse_args().check
    picture = draw()
    if check and (not PICTURE.is_file() or PICTURE.read_text(encoding='utf-8') != picture):
        sys.exit(f'{PICTURE.relative_to(ROOT)} is out of date: run `make layers`')
    if not check:
        PICTURE.write_text(picture, encoding='utf-8')
    return 0


if __name__ == '__main__':
    sys.exit(main())
