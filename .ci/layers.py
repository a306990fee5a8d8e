"""Draw the import layers in CONTRIBUTING.md, from the contract in pyproject.toml and the imports of the code.

``python .ci/layers.py`` rewrites the diagram, ``--check`` fails where it is out of date. An arrow that follows from two
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
PAGE = ROOT / 'CONTRIBUTING.md'
BLOCK = re.compile(r'(?<=<!-- layers -->\n).*?(?=<!-- end of layers -->)', re.DOTALL)


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
    """Return the diagram as a Mermaid block."""
    layers = read_layers()
    lines = ['```mermaid', 'flowchart TD']
    for number, names in enumerate(layers, 1):
        lines.append(f'  subgraph layer{number}[" "]')
        lines += [f'    {name}' for name in names]
        lines.append('  end')
    lines += [f'  {a} --> {b}' for a, b in find_arrows([name for names in layers for name in names])]
    return '\n'.join([*lines, '```', ''])


def main() -> int:
    """Redraw the diagram, or check it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--check', action='store_true', help='fail where the diagram is out of date, and write nothing')
    check = parser.parse_args().check
    text = PAGE.read_text(encoding='utf-8')
    if not BLOCK.search(text):
        sys.exit(f'{PAGE} has no place for the diagram, between "<!-- layers -->" and "<!-- end of layers -->"')
    new = BLOCK.sub(lambda _: draw(), text)
    if check and new != text:
        sys.exit(f'the diagram of layers in {PAGE.name} is out of date: run `make layers`')
    if not check:
        PAGE.write_text(new, encoding='utf-8')
    return 0


if __name__ == '__main__':
    sys.exit(main())
