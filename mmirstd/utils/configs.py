"""Configs by name: the files that ship with the package. No torch, so that a command line starts at once.

Installed, they lie in ``mmirstd/.mim/configs``, where MMEngine looks for ``mmirstd::...``; in an editable install that
is a link to the checkout.
"""

import json
from collections.abc import Iterator
from fnmatch import fnmatchcase
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from mmirstd.utils.errors import UserError
from mmirstd.utils.text import did_you_mean, format_threshold

CONFIGS_DIR = Path(__file__).resolve().parents[1] / '.mim/configs'
PREFIX = 'mmirstd::'
CONFIG_SUFFIXES = ('.py', '.yml', '.yaml', '.json')  # what MMEngine reads
# What finds targets right after installation: one model for images of any camera.
DEFAULT_MODEL = 'simir_repvit-fast_joint_crop256_long'


class PackagedWeights(NamedTuple):
    """Weights that come with the package: the file, and the SHA-256 that its metafile states."""

    path: Path
    sha256: str


class MetafileError(UserError, ValueError):
    """A metafile that lacks something, or says something that cannot be."""


class ConfigNotFoundError(FileNotFoundError):
    """A config argument is neither a file nor the name of a shipped config."""


def _shipped() -> Iterator[Path]:
    if not CONFIGS_DIR.is_dir():
        raise ConfigNotFoundError(f'mmirstd is installed without its configs ({CONFIGS_DIR} is missing): install again')
    return (p for p in sorted(CONFIGS_DIR.glob('*/*.py')) if p.parent.name != '_base_')


def list_configs(pattern: str | None = None) -> list[str]:
    """List the names of the shipped configs, sorted.

    Args:
        pattern: Shell-style wildcards that a name must match, e.g. ``'simir_*_nudt'``; without a wildcard, a part of
            the name. None lists all.

    Raises:
        ConfigNotFoundError: If mmirstd was installed without its configs.
    """
    names = sorted(path.stem for path in _shipped())
    if pattern is None:
        return names
    if not any(c in pattern for c in '*?['):
        pattern = f'*{pattern}*'
    return [name for name in names if fnmatchcase(name, pattern)]


def find_config(config: str | Path) -> Path:
    """Find the file of a config argument.

    Args:
        config: The path of a file; the name of a shipped config, ``'simir_repvit-fast_nudt'``; or its path below the
            shipped configs, ``'mmirstd::simir/simir_repvit-fast_nudt.py'``.

    Raises:
        ConfigNotFoundError: If it is none of these; names close to it are in the message.
    """
    text = str(config)
    if (path := Path(text)).is_file():
        if path.suffix not in CONFIG_SUFFIXES:
            raise ConfigNotFoundError(
                f'{text} is no config file: its name ends in none of {", ".join(CONFIG_SUFFIXES)}'
            )
        return path
    name = text.removeprefix(PREFIX)
    if text.startswith(PREFIX):
        name = name.removesuffix('.py')  # without the prefix, a name with it is a file that is not there
    for path in _shipped():
        if name in (path.stem, f'{path.parent.name}/{path.stem}'):
            return path
    advice = did_you_mean(Path(name).stem, list_configs()) or ' (`mmirstd models` lists those)'
    raise ConfigNotFoundError(f'there is no config file {text}, and no shipped config of that name{advice}')


def describe_configs(pattern: str | None = None) -> list[dict[str, Any]]:
    """Describe the shipped configs by what their ``metafile.yml`` says.

    Args:
        pattern: See :func:`list_configs`.

    Returns:
        One ``dict(name, config, collection, results, weights, sha256)`` for each, sorted by name. ``config`` is the
        path below the configs, ``results`` the metrics for each dataset (in percent, Fa in 1e-6), ``weights`` the path
        of a file below the repository, which is in the package; what is not in a metafile is None.
    """
    entries = {}
    for path, content in read_metafiles().items():
        for model in content.get('Models') or []:
            if not isinstance(model, dict) or 'Config' not in model:
                raise MetafileError(f'{path}: a model has no Config: {model!r}')
            entries[Path(model['Config']).stem] = model
    described = []
    for name in list_configs(pattern):
        path, entry = find_config(f'{PREFIX}{name}'), entries.get(name, {})
        results = {r['Dataset']: r.get('Metrics') or {} for r in entry.get('Results') or []}
        described.append(
            {
                'name': name,
                'config': path.relative_to(CONFIGS_DIR).as_posix(),
                'collection': entry.get('In Collection'),
                'results': results,
                'weights': entry.get('Weights'),
                'sha256': entry.get('SHA256'),
            }
        )
    return described


def read_metafiles() -> dict[Path, dict[str, Any]]:
    """What the metafile of each family of configs says, by its path.

    Raises:
        MetafileError: If one is damaged; it is named.
    """
    paths = sorted(CONFIGS_DIR.glob('*/metafile.yml'))
    return {path: _read_metafile(path, path.stat().st_mtime_ns) for path in paths}


@lru_cache(maxsize=32)
def _read_metafile(path: Path, _: int) -> dict[str, Any]:
    import yaml  # comes with MMEngine

    try:
        content = yaml.safe_load(path.read_text(encoding='utf-8'))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise MetafileError(f'{path}: {" ".join(str(error).split())}') from None
    if not isinstance(content, dict):
        raise MetafileError(f'{path}: Collections, Models and PublishedWeights are expected, got {content!r}')
    return content


def packaged_weights(config: str | Path) -> PackagedWeights | None:
    """Find the weights that come with the package for a shipped config, if it has some.

    Args:
        config: As :func:`find_config` takes it; a file that is no shipped config has none.
    """
    path = find_config(config).resolve()
    if path.parents[1] != CONFIGS_DIR.resolve():
        return None
    (entry,) = (e for e in describe_configs(path.stem) if e['name'] == path.stem)
    if entry['weights'] is None:
        return None
    return PackagedWeights(CONFIGS_DIR.parents[2] / entry['weights'], entry['sha256'])


def describe_weights(name: str) -> str:
    """Say in a few lines what the weights that come with the package for a model are, from what stands in the file."""
    from safetensors import safe_open  # without torch

    weights = packaged_weights(name)
    with safe_open(weights.path, framework='np') as file:
        meta = file.metadata()
    trained_on = [f'{e["dataset"]} {e["name"]}: {e["num"]} images, sha256 of the ids {e["sha256"]}'
                  for e in json.loads(meta['trained_on'])]  # fmt: skip
    thresholds = []
    if point := json.loads(meta.get('operating_point', 'null')):
        criterion = point['criterion'] + ('' if point['budget'] is None else f' of at most {point["budget"]:g}')
        splits = ', '.join(f'{s["dataset"]} {s["name"]}' for s in point['splits'])
        found = ', '.join(f'{key} {point["metrics"][key]:.4g}' for key in ('Pd', 'Fa', 'false_alarms_per_image'))
        shown = format_threshold(point['threshold'])
        thresholds.append(
            ('threshold', f'{shown}, chosen by {criterion} on {splits}: {found}; metrics above are at 0.5')
        )
    lines = [
        ('config', find_config(name)),
        ('file', f'{weights.path}, {weights.path.stat().st_size / 1e6:.1f} MB'),
        ('sha256', weights.sha256),
        *(('trained on', line) for line in trained_on),
        *thresholds,
        ('notice', (weights.path.parent / 'NOTICE').read_text(encoding='utf-8').replace('\n', ' ').strip()),
    ]
    return '\n'.join(f'  {key + ":":<12}{value}' for key, value in lines)
