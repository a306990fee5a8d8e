"""Records of runs: one JSON file each, from which the results pages are made."""

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from mmengine.config import Config

from mmirstd.io.files import write_atomically
from mmirstd.io.tables import json_bytes, plain
from mmirstd.utils.errors import UserError
from mmirstd.utils.nested import without_keys

FORMAT = 1
# What a record has at least; the pages rely on it.
REQUIRED = (
    'format', 'name', 'model', 'config', 'config_sha256', 'dataset', 'split', 'weights', 'command', 'versions',
    'hardware', 'costs', 'testing', 'protocols', 'curves', 'faults',
)  # fmt: skip
# Parts of a config that decide what is measured, and what is trained.
TEST_PARTS = ('model', 'test_dataloader')
TRAIN_PARTS = (
    'model', 'train_dataloader', 'val_dataloader', 'val_evaluator', 'train_cfg', 'optim_wrapper', 'param_scheduler',
    'custom_hooks', 'randomness', 'load_from',
)  # fmt: skip
# Of the hook that saves checkpoints, what chooses the one that is tested.
CHOICE = ('save_best', 'rule', 'greater_keys', 'less_keys')
# Of loaders and datasets, what changes no sample.
NEUTRAL = {'num_workers', 'persistent_workers', 'data_root', 'pin_memory', 'prefetch_factor'}


class RecordError(UserError, ValueError):
    """A file that is no record of a run."""


class RecordFormatError(RecordError):
    """A record that another version of mmirstd has written."""


def config_digest(cfg: Config, parts: Iterable[str]) -> str:
    """SHA-256 of parts of a config, without folders and what does not change a sample."""
    return _digest({part: without_keys(cfg[part], NEUTRAL) for part in parts if cfg.get(part) is not None})


def training_digest(cfg: Config) -> str:
    """SHA-256 of what decides a training and the checkpoint that it chooses."""
    hook = cfg.get('default_hooks', {}).get('checkpoint') or {}
    return _digest([config_digest(cfg, TRAIN_PARTS), {key: hook[key] for key in CHOICE if key in hook}])


def _digest(chosen: Any) -> str:
    return hashlib.sha256(json.dumps(plain(chosen), sort_keys=True, default=str).encode()).hexdigest()


def write_record(path: str | Path, record: Mapping[str, Any]) -> None:
    """Write a record whole or not at all; lists of numbers take one line each.

    A record of another config or of other weights stays beside it, as ``NAME.DIGEST.json.old``.
    """
    path = Path(path)
    with suppress(FileNotFoundError, RecordError):  # what is damaged says nothing
        before = read_record(path)['config_sha256']
        if before != record['config_sha256']:
            os.replace(path, path.with_name(f'{path.stem}.{before[:8]}.json.old'))
    write_atomically(path, _lines(json.loads(json_bytes(record)), '') + '\n')


def read_json(path: str | Path) -> Any:
    """Content of a JSON file.

    Raises:
        RecordError: If it is not JSON; the file is named.
    """
    try:
        return json.loads(Path(path).read_text(encoding='utf-8'))
    except ValueError as error:
        raise RecordError(f'{path} is damaged: {error}') from None


def read_record(path: str | Path) -> dict[str, Any]:
    """Read a record.

    Raises:
        RecordError: If it is not JSON, or lacks a part.
        RecordFormatError: If it is of another format.
    """
    record = read_json(path)
    if isinstance(record, dict) and record.get('format', FORMAT) != FORMAT:
        raise RecordFormatError(f'{path} has the format {record["format"]!r}; this version of mmirstd reads {FORMAT}')
    if not isinstance(record, dict) or (missing := [key for key in REQUIRED if key not in record]):
        raise RecordError(
            f'{path} is no record of a run{f": it has no {missing[0]}" if isinstance(record, dict) else ""}'
        )
    return record


def read_records(folder: str | Path) -> list[dict[str, Any]]:
    """Read all records of a folder, in the order of their names.

    Raises:
        FileNotFoundError: If there is no such folder.
        RecordError: If a file is no record.
    """
    if not Path(folder).is_dir():
        raise FileNotFoundError(f'there is no folder of records {folder}')
    return [read_record(path) for path in sorted(Path(folder).glob('*.json'))]


def protocol_metrics(record: Mapping[str, Any], protocol: str = 'exact') -> dict[str, float]:
    """Metrics of a record under a protocol; None where one is undefined.

    Raises:
        RecordError: If the record has no such protocol.
    """
    for found in record['protocols']:
        if found['name'] == protocol:
            return found['metrics']
    raise RecordError(f'{record["name"]} has no protocol {protocol}')


def _lines(value: Any, indent: str) -> str:
    """JSON with a line for each key, and one for what holds plain values alone."""
    inner = indent + ' '
    nested = list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else []
    if not any(isinstance(item, (dict, list)) and item for item in nested):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, dict):
        parts = [f'{inner}{json.dumps(key, ensure_ascii=False)}: {_lines(item, inner)}' for key, item in value.items()]
        return '{\n' + ',\n'.join(parts) + f'\n{indent}}}'
    return '[\n' + ',\n'.join(inner + _lines(item, inner) for item in value) + f'\n{indent}]'
