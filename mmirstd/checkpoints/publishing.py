"""Checkpoints for publication: weights and what is known of them, as one file that others can read."""

import json
import os.path as osp
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor

from mmirstd.checkpoints.loading import JSON_KEYS, load_checkpoint, load_file, load_safetensors
from mmirstd.checkpoints.operating_point import META_KEY, CalibratedThreshold
from mmirstd.checkpoints.provenance import Provenance
from mmirstd.checkpoints.state_dict import CheckpointError, checkpoint_weights
from mmirstd.io.files import file_sha256, refuse_overwriting, whole_file

TEXT_KEYS = ('cfg', 'experiment_name', 'time', 'mmirstd_version', 'mmengine_version')


@dataclass
class Published:
    """What went into a published file and what did not.

    Attributes:
        path: The file.
        sha256: Hash of the file.
        num_bytes: Its size, and that of the checkpoint it was made from (None: not a local file).
        num_tensors: Number of tensors.
        num_values: Numbers in them.
        averaged: Whether the weights are the averaged ones of ``EMAHook``.
        left_out: Entries of the checkpoint that were left out.
        provenance: What is known of the training.
    """

    path: Path
    sha256: str
    num_bytes: tuple[int, int | None]
    num_tensors: int
    num_values: int
    averaged: bool
    left_out: list[str]
    provenance: Provenance

    def __str__(self) -> str:
        size, before = self.num_bytes
        splits = [f'{e["dataset"]} {e["name"]} ({e["num"]} images)' for e in self.provenance.trained_on]
        splits += [f'unknown ({name})' for name in self.provenance.unknown_splits]
        lines = [
            f'{self.path}: {size / 1e6:.1f} MB{f" (was {before / 1e6:.1f})" if before else ""}, sha256 {self.sha256}',
            f'weights:    {self.num_tensors} tensors, {self.num_values:,} numbers'
            + (', averaged (EMAHook)' if self.averaged else ''),
            f'left out:   {", ".join(self.left_out) or "nothing"}',
            f'trained on: {", ".join(splits) or "no split"}',
            *(f'allowed:    {text}' for text in self.provenance.allowed_overlaps),
        ]
        return '\n'.join(lines)


def publish(
    source: str | Path,
    destination: str | Path,
    overwrite: bool = False,
    half: bool = False,
    operating_point: CalibratedThreshold | None = None,
) -> Published:
    """Write the weights that a test uses, with their provenance, config, split and versions.

    With ``EMAHook`` these are the averaged weights. Optimizer, schedulers and log are left out.

    Args:
        source: A ``.pth`` or ``.safetensors`` file, or its address.
        destination: The file to write; it ends in ``.safetensors`` or ``.pth``.
        overwrite: Replace it if it exists.
        half: Round the weights to float16, which halves the file. They are loaded into the type of the model.
        operating_point: The threshold that goes with the weights; by default that of the source, if it has one.

    Returns:
        What was written.

    Raises:
        CheckpointError: If the source cannot be read, or the destination cannot be written, has another suffix or does
            not read back as it was; with `half`, if a weight is too large for float16.
        FileExistsError: If the destination exists.
    """
    source, destination = str(source), Path(destination)
    check_destination(source, destination, overwrite)
    content = load_checkpoint(source)
    # Tensors that share memory, as tied weights do, become independent.
    weights = {k: v.detach().clone().contiguous() for k, v in checkpoint_weights(content, source).items()}
    if half:
        weights = {k: _halved(v, k, source) for k, v in weights.items()}
    meta = published_meta(content.get('meta'))
    if operating_point is not None:
        meta[META_KEY] = operating_point.as_meta()
    try:
        with whole_file(destination) as temporary:
            if destination.suffix == '.safetensors':
                read = load_safetensors
                header = {k: json.dumps(v, default=_plain) if k in JSON_KEYS else str(v) for k, v in meta.items()}
                temporary.write_bytes(_sorted_header(save(weights, {'format': 'pt'} | header)))
            else:
                read = load_file
                torch.save({'meta': meta, 'state_dict': weights}, temporary)
            _compare(weights, read(temporary)['state_dict'], destination)
            sha256 = file_sha256(temporary)
    except OSError as e:
        raise CheckpointError(f'cannot write {destination}: {e.strerror or e}') from e
    return Published(
        path=destination,
        sha256=sha256,
        num_bytes=(destination.stat().st_size, osp.getsize(source) if osp.isfile(source) else None),
        num_tensors=len(weights),
        num_values=sum(v.numel() for v in weights.values()),
        averaged='ema_state_dict' in content,
        left_out=sorted(set(content) - {'meta', 'state_dict', 'model'} - weights.keys()),
        provenance=Provenance.of(content.get('meta'), source),
    )


def check_destination(source: str, destination: Path, overwrite: bool) -> None:
    """See, before anything is read, that the file may be written."""
    if destination.suffix not in ('.safetensors', '.pth'):
        raise CheckpointError(f'{destination}: the name must end in .safetensors or .pth')
    if not destination.parent.is_dir():
        raise CheckpointError(f'{destination}: there is no folder {destination.parent}')
    if destination.exists() and osp.exists(source) and destination.samefile(source):
        raise CheckpointError(f'{destination} is the checkpoint itself')
    refuse_overwriting(destination, overwrite)


def published_meta(meta: object) -> dict[str, Any]:
    """What of a checkpoint's ``meta`` goes along; ``trained_on`` only if it is known."""
    meta = meta if isinstance(meta, Mapping) else {}
    return {k: meta[k] for k in (*TEXT_KEYS, *sorted(JSON_KEYS)) if meta.get(k) is not None}


def _halved(value: Tensor, key: str, source: str) -> Tensor:
    if not value.is_floating_point():
        return value
    if not torch.isfinite(halved := value.half()).all():
        raise CheckpointError(f'{source}: {key} exceeds what float16 holds: publish it without half')
    return halved


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
