"""Strip a checkpoint for publication: ``python tools/model_converters/publish_model.py CHECKPOINT OUT``.

``OUT`` ends in ``.safetensors`` or ``.pth``. It holds the weights that ``tools/test.py`` tests (with ``EMAHook`` the
averaged ones) and what is known of them: training lists, config, split, versions. Optimizer, schedulers and log go.
"""

import argparse
import hashlib
import json
import os.path as osp
from collections.abc import Mapping
from pathlib import Path
from typing import Any

try:
    from mmirstd.apis import tool_options as cli
except ImportError as e:
    if e.name not in ('mmirstd', None):
        raise
    # e.name is None where mmirstd says that its stack is missing.
    root = osp.dirname(osp.dirname(osp.dirname(osp.abspath(__file__))))
    advice = f'mmirstd is not installed in this Python: run `make` in {root} and use {root}/.venv/bin/python'
    raise SystemExit(f'error: {advice if e.name else e}') from None
import torch
from safetensors.torch import save
from torch import Tensor

from mmirstd.checkpoints.loading import JSON_KEYS, CheckpointError, checkpoint_weights, load_checkpoint, load_file
from mmirstd.engine.provenance import Lineage
from mmirstd.io.files import replace_durably

TEXT_KEYS = ('cfg', 'experiment_name', 'time', 'mmirstd_version', 'mmengine_version')


def publish(source: str, destination: Path, overwrite: bool = False) -> str:
    """Write the stripped checkpoint; returns lines that say what is in it.

    Raises:
        CheckpointError: If the source cannot be read, or the destination exists, cannot be written, has another
            suffix or does not read back as it was.
    """
    check_destination(source, destination, overwrite)
    content = load_checkpoint(source)
    # Tensors that share memory, as tied weights do, become independent.
    weights = {k: v.detach().clone().contiguous() for k, v in checkpoint_weights(content, source).items()}
    meta = published_meta(content.get('meta'))
    temporary = destination.with_name(f'.tmp-{destination.name}')
    try:
        if destination.suffix == '.safetensors':
            header = {k: json.dumps(v, default=_plain) if k in JSON_KEYS else str(v) for k, v in meta.items()}
            temporary.write_bytes(_sorted_header(save(weights, {'format': 'pt'} | header)))
        else:
            torch.save({'meta': meta, 'state_dict': weights}, temporary)
        _compare(weights, load_file(temporary)['state_dict'], destination)
        content_hash = hashlib.sha256(temporary.read_bytes()).hexdigest()
        replace_durably(temporary, destination)
    except OSError as e:
        raise CheckpointError(f'cannot write {destination}: {e.strerror or e}') from e
    finally:
        temporary.unlink(missing_ok=True)
    return describe(source, content, destination, weights, content_hash)


def check_destination(source: str, destination: Path, overwrite: bool) -> None:
    """See, before anything is read, that the file may be written."""
    if destination.suffix not in ('.safetensors', '.pth'):
        raise CheckpointError(f'{destination}: the name must end in .safetensors or .pth')
    if not destination.parent.is_dir():
        raise CheckpointError(f'{destination}: there is no folder {destination.parent}')
    if destination.exists() and osp.exists(source) and destination.samefile(source):
        raise CheckpointError(f'{destination} is the checkpoint itself')
    if destination.exists() and not overwrite:
        raise CheckpointError(f'{destination} exists; --overwrite replaces it')


def published_meta(meta: object) -> dict[str, Any]:
    """What of a checkpoint's ``meta`` goes along; ``trained_on`` only if it is known."""
    meta = meta if isinstance(meta, Mapping) else {}
    kept = {k: meta[k] for k in (*TEXT_KEYS, *sorted(JSON_KEYS)) if meta.get(k) is not None}
    split = (meta.get('dataset_meta') or {}).get('split')
    return kept | ({'split': split} if split else {})


def describe(source: str, content: Mapping, destination: Path, weights: Mapping[str, Tensor], sha256: str) -> str:
    """Sizes, hash, and what is in the file and what is not."""
    before = f' (was {osp.getsize(source) / 1e6:.1f})' if osp.isfile(source) else ''
    dropped = sorted(set(content) - {'meta', 'state_dict', 'model'} - weights.keys())
    lineage = Lineage.of(content.get('meta'), source)
    lists = [f'{e["dataset"]} {e["name"]} ({e["num"]} images)' for e in lineage.trained_on]
    lists += [f'unknown ({name})' for name in lineage.unknown_lists]
    numbers = sum(v.numel() for v in weights.values())
    lines = [
        f'{destination}: {destination.stat().st_size / 1e6:.1f} MB{before}, sha256 {sha256}',
        f'weights:    {len(weights)} tensors, {numbers:,} numbers'
        + (', averaged (EMAHook)' if 'ema_state_dict' in content else ''),
        f'left out:   {", ".join(dropped) or "nothing"}',
        f'trained on: {", ".join(lists) or "no list"}',
        *(f'allowed:    {text}' for text in lineage.allowed_overlaps),
    ]
    return '\n'.join(lines)


def _sorted_header(content: bytes) -> bytes:
    """Sort the header of safetensors (its length in 8 bytes, JSON, data): equal contents then have equal hashes."""
    end = 8 + int.from_bytes(content[:8], 'little')
    header = json.dumps(json.loads(content[8:end]), sort_keys=True, separators=(',', ':')).encode()
    header += b' ' * (-len(header) % 8)
    return len(header).to_bytes(8, 'little') + header + content[end:]


def _compare(weights: Mapping[str, Tensor], read: Mapping[str, Tensor], destination: Path) -> None:
    same = weights.keys() == read.keys() and all(_identical(v, read[k]) for k, v in weights.items())
    if not same:
        raise CheckpointError(f'{destination}: what was written does not read back as it was')


def _identical(a: Tensor, b: Tensor) -> bool:
    return a.dtype == b.dtype and a.shape == b.shape and torch.equal(a.nan_to_num(), b.nan_to_num())


def _plain(value: Any) -> Any:
    """NumPy arrays and numbers, which ``dataset_meta`` may hold."""
    if hasattr(value, 'tolist'):
        return value.tolist()
    raise CheckpointError(f'meta holds a {type(value).__name__}, which is no plain data')


def main(argv: list[str] | None = None) -> None:
    """Read the command line and publish."""
    parser = argparse.ArgumentParser(description='Strip a checkpoint for publication.')
    parser.add_argument('checkpoint', help='.pth or .safetensors file, or its address')
    parser.add_argument('out', type=Path, help='.safetensors or .pth file to write')
    parser.add_argument('--overwrite', action='store_true', help='replace the file if it exists')
    args = parser.parse_args(argv)
    with cli.one_line_errors():
        print(publish(args.checkpoint, args.out, args.overwrite))


if __name__ == '__main__':
    main()
