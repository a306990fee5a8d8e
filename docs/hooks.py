"""Pages of the site that are made from the repository when the site is built.

The home page is the README, the contributing page is CONTRIBUTING.md, and the reference pages of the command line,
the configs and the API come from the parsers, the config files and the modules. Nothing here imports torch.
"""

import argparse
import ast
import importlib
import posixpath
import re
import sys
import types
from pathlib import Path

import yaml
from griffe import Extension, Object
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[1]
FAMILIES = [path.parent.name for path in sorted(ROOT.glob('configs/*/README.md'))]
# Link target in the repository -> page of the site.
PAGES = {f'configs/{family}/README.md': f'reference/configs/{family}.md' for family in FAMILIES} | {
    'README.md': 'index.md',
    'CONTRIBUTING.md': 'contributing/index.md',
}
SOURCES = {page: source for source, page in PAGES.items()}
API = [
    'app',
    'apis',
    'engine',
    'visualization',
    'evaluation',
    'datasets',
    'models',
    'synthesis',
    'checkpoints',
    'ops',
    'io',
    'utils',
]  # fmt: skip


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Add the generated pages to the navigation."""
    (reference,) = (part['Reference'] for part in config.nav if 'Reference' in part)
    reference += [
        {'Config families': [PAGES[f'configs/{family}/README.md'] for family in FAMILIES]},
        {'API': [f'reference/api/{layer}.md' for layer in API]},
    ]
    config.plugins['mkdocstrings'].config.handlers['python']['options']['extensions'] = [f'{__file__}:PlainDocstrings']
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Write the generated pages."""
    pages = {
        'reference/cli.md': cli_page(),
        'reference/configs.md': configs_page(),
    }
    pages |= {page: _read(source) for source, page in PAGES.items()}
    pages |= {f'reference/api/{layer}.md': api_page(layer) for layer in API}
    for uri, text in pages.items():
        files.append(File.generated(config, uri, content=text))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Point links to files of the repository to their pages; a file without a page keeps its text alone."""
    uri = page.file.src_uri
    origin = SOURCES.get(uri, f'docs/{uri}')
    if page.file.generated_by and uri not in SOURCES:
        return markdown

    def replace(match: re.Match) -> str:
        mark, text, path, anchor = match.groups()
        file = posixpath.normpath(posixpath.join(posixpath.dirname(origin), path))
        inside = PAGES.get(file, file.removeprefix('docs/') if file.startswith('docs/') else None)
        if inside:
            return f'{mark}[{text}]({posixpath.relpath(inside, posixpath.dirname(uri))}{anchor or ""})'
        return text if (ROOT / file).exists() else match[0]

    return re.sub(r'(!?)\[([^\]]*)\]\((?!\w+:)([^)#\s]+)(#[^)]*)?\)', replace, markdown)


def cli_page() -> str:
    """The page of the command line, from the parsers of ``mmirstd.cli``."""
    package = types.ModuleType('mmirstd')  # without the check of the installed stack, which the site does not need
    package.__path__ = [str(ROOT / 'mmirstd')]
    sys.modules.setdefault('mmirstd', package)
    sys.path.insert(0, str(ROOT))
    main = importlib.import_module('mmirstd.cli.main')
    commands = main.COMMANDS
    parts = [
        '# Command line\n',
        'Each command is a thin shell over a function of [`mmirstd.apis`](api/apis.md). The scripts in `tools/` run '
        'the same commands from a checkout.\n',
        '| command | |\n|---|---|',
        *(f'| [`mmirstd {name}`](#mmirstd-{name.replace(" ", "-")}) | {line} |' for name, line in commands.items()),
    ]
    for name in commands:
        module = main.command_module(name)
        parser = argparse.ArgumentParser(prog=f'mmirstd {name}', formatter_class=_wide)
        module.add_arguments(parser)
        parts += [f'\n## mmirstd {name}\n', module.__doc__ or '', f'\n```\n{parser.format_usage().strip()}\n```\n']
        parts += ['| argument | meaning |\n|---|---|', *map(_argument_row, _shown(parser))]
    return '\n'.join(parts) + '\n'


def _wide(prog: str) -> argparse.HelpFormatter:
    return argparse.HelpFormatter(prog, width=100)


def _shown(parser: argparse.ArgumentParser) -> list[argparse.Action]:
    return [
        action for action in parser._actions if action.help not in (argparse.SUPPRESS, None) and action.dest != 'help'
    ]


def _argument_row(action: argparse.Action) -> str:
    values = action.metavar or ('{' + ','.join(map(str, action.choices)) + '}' if action.choices else action.dest)
    values = ' '.join(values) if isinstance(values, tuple) else values
    if action.option_strings:
        takes = (
            '' if action.nargs == 0 else f' {values.upper() if not action.metavar and not action.choices else values}'
        )
        name = ', '.join(f'`{option}{takes}`' for option in action.option_strings)
    else:
        name = f'`{values}`'
    text = action.help % (vars(action) | {'prog': 'mmirstd'})
    return f'| {name} | {_cell(text)} |'


def configs_page() -> str:
    """The table of shipped configs: name, what it is, and the metrics that its metafile states."""
    parts = [
        '# Configs\n',
        'A command takes the name of a config, or the path of a file. `mmirstd models` prints the names. Metrics are '
        'in percent, Fa in 1e-6; they come from `configs/*/metafile.yml`, whose runs are described in '
        '[Results](../results/index.md).\n',
    ]
    for folder in sorted({path.parent for path in ROOT.glob('configs/[!_]*/*.py')}):
        metafile = folder / 'metafile.yml'
        models = yaml.safe_load(metafile.read_text(encoding='utf-8'))['Models'] if metafile.exists() else []
        metrics = {model['Name']: model.get('Results') or [] for model in models}
        title = f'[{folder.name}](configs/{folder.name}.md)' if folder.name in FAMILIES else folder.name
        parts += [f'\n## {title}\n', '| config | what it is | bases | metrics |\n|---|---|---|---|']
        for path in sorted(folder.glob('*.py')):
            values = '; '.join(
                ', '.join(f'{name} {value}' for name, value in result['Metrics'].items())
                + (f' ({result["Dataset"]})' if len(metrics[path.stem]) > 1 else '')
                for result in metrics.get(path.stem, ())
            )
            parts.append(f'| `{path.stem}` | {_cell(_purpose(path))} | {_bases(path)} | {values} |')
    return '\n'.join(parts) + '\n'


def _purpose(path: Path) -> str:
    """The docstring or the leading comment of a config."""
    text = path.read_text(encoding='utf-8')
    if docstring := ast.get_docstring(ast.parse(text)):
        return docstring.split('\n\n')[0]
    comment = re.match(r'(?:#.*\n)*', text)[0]
    return re.sub(r'^# ?', '', comment, flags=re.MULTILINE)


def _bases(path: Path) -> str:
    assigned = {n.targets[0].id: n.value for n in ast.parse(path.read_text('utf-8')).body if isinstance(n, ast.Assign)}
    bases = ast.literal_eval(assigned['_base_']) if '_base_' in assigned else []
    stems = [Path(base).stem for base in ([bases] if isinstance(bases, str) else bases)]
    return ', '.join(f'`{stem}`' for stem in stems if stem != 'default_runtime')


def api_page(layer: str) -> str:
    """The page of one layer: its packages, and in them every public module."""
    folder = ROOT / 'mmirstd' / layer
    parts = [f'# mmirstd.{layer}\n', _docstring(folder / '__init__.py'), *_exports(folder)]
    package = folder
    for path in sorted(folder.rglob('*.py'), key=lambda path: (path.parent, path.name)):
        private = path.name.startswith('_') and path.name != '__init__.py'
        if private or not _has_members(path):
            continue
        if path.parent != package:
            package = path.parent
            parts += [f'\n## {_dotted(package)}\n', _docstring(package / '__init__.py')]
        parts.append(f'\n::: {_dotted(path)}')
    return '\n'.join(parts) + '\n'


def _dotted(path: Path) -> str:
    return '.'.join(path.relative_to(ROOT).with_suffix('').parts).removesuffix('.__init__')


def _exports(folder: Path) -> list[str]:
    """The names that the package itself exports, with links to where they are described."""
    nodes = ast.walk(ast.parse((folder / '__init__.py').read_text(encoding='utf-8')))
    lazy = {n.targets[0].id: n.value for n in nodes if isinstance(n, ast.Assign)}.get('_MODULES')
    names = ast.literal_eval(lazy) if lazy else {}
    if not names:
        return []
    package = _dotted(folder)
    modules = {n: m if m.startswith('mmirstd.') else f'{package}.{m}' for n, m in names.items()}
    return [f'\n`from {package} import ...`:\n', *(f'- [`{n}`][{m}.{n}]' for n, m in modules.items())]


def _has_members(path: Path) -> bool:
    nodes = ast.parse(path.read_text(encoding='utf-8')).body
    return any(isinstance(n, (ast.ClassDef, ast.FunctionDef)) and not n.name.startswith('_') for n in nodes)


def _docstring(path: Path) -> str:
    return ast.get_docstring(ast.parse(path.read_text(encoding='utf-8'))) or ''


def _cell(text: str) -> str:
    return ' '.join(text.split()).replace('|', r'\|').replace('<', '&lt;')


def _read(name: str) -> str:
    return (ROOT / name).read_text(encoding='utf-8')


class PlainDocstrings(Extension):
    """Shows ``:class:`x``` and the other Sphinx roles of docstrings as code, and doctests as blocks of code."""

    def on_object(self, *, obj: Object, **_: object) -> None:
        """Rewrite the docstring of one object."""
        if obj.docstring:
            text = re.sub(r':(?:class|func|meth|mod|attr|data):`~?([^`]+)`', r'`\1`', obj.docstring.value)
            obj.docstring.value = re.sub(r'^>>> (?:.+\n?)+', r'```pycon\n\g<0>\n```\n', text, flags=re.MULTILINE)
