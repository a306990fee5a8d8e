"""Damage is found, and no file takes more memory than it has bytes."""

import struct
import subprocess
import sys
import textwrap
import zipfile

import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer
from safetensors.torch import save_file

from mmirstd.checkpoints.integrity import check_content, check_file
from mmirstd.checkpoints.loading import load_checkpoint, load_file, read_meta
from mmirstd.checkpoints.state_dict import CheckpointError


@pytest.fixture
def path(tmp_path):
    path = tmp_path / 'a.pth'
    torch.manual_seed(0)
    torch.save({'state_dict': {'w': torch.randn(64, 64)}, 'meta': {'iter': 3}}, path)
    return path


class Call:
    """Unpickling it calls something."""

    def __init__(self, function, *args):
        self.call = function, args

    def __reduce__(self):
        return self.call


def test_every_flipped_bit_of_a_record_is_found(path):
    whole = path.read_bytes()
    with zipfile.ZipFile(path) as archive:
        record = archive.getinfo('a/data/0')
        names, extra = struct.unpack_from('<HH', whole, record.header_offset + 26)
        start = record.header_offset + 30 + names + extra
        pickled = archive.getinfo('a/data.pkl')
    chance = np.random.default_rng(0)
    places = [*chance.integers(start, start + record.file_size, 30)]
    names, extra = struct.unpack_from('<HH', whole, pickled.header_offset + 26)
    start = pickled.header_offset + 30 + names + extra
    places += [*chance.integers(start, start + pickled.file_size, 10)]
    for place in places:
        damaged = bytearray(whole)
        damaged[place] ^= 1 << int(chance.integers(8))
        path.write_bytes(damaged)
        with pytest.raises(CheckpointError, match=r'a\.pth \(\d+ bytes\) is damaged: Bad CRC-32 for file'):
            load_file(path)
    path.write_bytes(whole)
    assert load_file(path)['state_dict']['w'].shape == (64, 64)


@pytest.mark.parametrize('change', ['cut', 'longer', 'header'])
def test_safetensors_sizes(change, tmp_path):
    path = tmp_path / 'a.safetensors'
    save_file({'w': torch.ones(8, 8)}, path)
    content = path.read_bytes()
    changed = {
        'cut': content[:-4],
        'longer': content + b'\0' * 8,
        'header': content.replace(b'"shape":[8,8]', b'"shape":[8,9]'),
    }[change]
    path.write_bytes(changed)
    with pytest.raises(CheckpointError, match=r'a\.safetensors .* is damaged or cut off'):
        load_file(path)


def test_written_without_checksums(path, capsys):
    torch.serialization.set_crc32_options(False)
    try:
        torch.save({'state_dict': {'w': torch.ones(3)}}, path)
    finally:
        torch.serialization.set_crc32_options(True)
    assert torch.equal(load_file(path)['state_dict']['w'], torch.ones(3))


def test_compressed_records(path):
    with zipfile.ZipFile(path) as archive:
        records = [(r.filename, archive.read(r)) for r in archive.infolist()]
    with zipfile.ZipFile(path, 'w', zipfile.ZIP_DEFLATED) as archive:
        for name, content in records:
            archive.writestr(name, bytes(10**7) if name == 'a/data/0' else content)
    assert path.stat().st_size < 20_000
    with pytest.raises(CheckpointError, match=r'a\.pth is refused: its record a/data\S+ is compressed'):
        load_file(path)


def test_records_that_share_bytes(path, monkeypatch):
    """Of a zip whose directory points to one record many times, each is of the file's size."""
    with zipfile.ZipFile(path) as archive:
        one = archive.getinfo('a/data/0')
    monkeypatch.setattr(zipfile.ZipFile, 'infolist', lambda self: [one] * 10)
    with pytest.raises(CheckpointError, match=r'its records declare 163840 bytes, the file has \d+'):
        check_file(path)


@pytest.mark.parametrize(
    'value',
    [
        torch.zeros(1).expand(10**6, 10**4),
        torch.sparse_coo_tensor(torch.zeros(1, 1, dtype=torch.long), torch.ones(1), (10**10,)),
        torch.empty(10**6, 10**4, device='meta'),
        np.broadcast_to(np.zeros(1), (10**5, 10**5)),
        HistoryBuffer([1.0], [1]),
    ],
    ids=['expanded', 'sparse', 'without values', 'array', 'history'],
)
def test_values_that_are_larger_than_their_file(value):
    if isinstance(value, HistoryBuffer):
        value._log_history = np.broadcast_to(np.zeros(1), 10**9)
    nested = {'a': [(value,)]}
    nested['b'] = nested  # each object is looked at once
    with pytest.raises(CheckpointError, match=r'x\.pth is refused: it declares .*, \d+ bytes, the file has 1000'):
        check_content(nested, 1000, 'x.pth')
    check_content(nested, 10**12, 'x.pth')


def test_nested_deeply(path):
    content = []
    for _ in range(10**5):
        content = [content]
    check_content(content, 1, 'x')


@pytest.mark.parametrize('legacy', [False, True], ids=['zip', 'legacy'])
def test_a_byte_array_of_any_size(legacy, path):
    torch.save({'state_dict': {'w': torch.ones(3)}, 'meta': Call(bytearray, 16 * 2**30)}, path,
               _use_new_zipfile_serialization=not legacy)  # fmt: skip
    with pytest.raises(CheckpointError, match=r'a\.pth is refused: it holds a bytearray'):
        load_file(path)


def test_what_small_files_take(tmp_path):
    """In a process of its own, whose peak is known: files of kilobytes that declare 8 GB in all ways."""
    torch.save(torch.zeros(1).expand(2 * 10**9), tmp_path / 'expanded.pth')
    torch.save({'w': Call(torch.Tensor, 2 * 10**9)}, tmp_path / 'tensor.pth')
    torch.save({'w': Call(np._core.multiarray._reconstruct, np.ndarray, (10**9,), b'd')}, tmp_path / 'array.pth')
    content = {'w': torch.zeros(7)}
    torch.save(content, tmp_path / 'legacy.pth', _use_new_zipfile_serialization=False)
    data = (tmp_path / 'legacy.pth').read_bytes()
    seven = b'K\x07'  # the number of its values, a byte; a signed number of four takes its place
    (tmp_path / 'legacy.pth').write_bytes(data.replace(seven, b'J' + struct.pack('<i', 2**31 - 1)))
    script = textwrap.dedent("""
        import sys
        from mmirstd.apis.measuring import resident_growth
        from mmirstd.checkpoints.loading import load_file
        from mmirstd.checkpoints.state_dict import CheckpointError
        def load():
            for path in sys.argv[1:]:
                try:
                    load_file(path)
                except CheckpointError as e:
                    print(e)
        print(resident_growth(load, 0) >> 20)
    """)
    done = subprocess.run(
        [sys.executable, '-c', script, *map(str, sorted(tmp_path.glob('*.pth')))],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    *errors, megabytes = done.stdout.splitlines()
    assert len(errors) == 4
    assert int(megabytes) < 200


def test_statistics_of_a_file_are_not_taken(path):
    """MMEngine's buffers share their methods, and would take others from a file, for every buffer of the process."""
    buffer = HistoryBuffer([1.0], [1])
    buffer.__dict__['statistics_methods'] = {'mean': 'nothing that can be called'}
    state = dict(buffer.__dict__)
    HistoryBuffer.__getstate__, original = lambda self: state, HistoryBuffer.__getstate__
    try:
        torch.save({'message_hub': buffer}, path)
    finally:
        HistoryBuffer.__getstate__ = original
    read = load_file(path)['message_hub']
    assert read.statistics('mean') == HistoryBuffer([1.0], [1]).statistics('mean') == 1.0


def test_text_that_a_runner_would_execute_is_dropped(path):
    torch.save({'state_dict': {'w': torch.ones(3)}, 'meta': {'iter': 3, 'config': 'open("x", "w")'}}, path)
    assert load_checkpoint(path)['meta'] == {'iter': 3}


def test_meta_alone(path, tmp_path):
    assert read_meta(path) == {'iter': 3}
    torch.save([1, 2], path)
    assert read_meta(path) == {}
    torch.save({'meta': 'text'}, path)
    assert read_meta(path) == {}
    with pytest.raises(CheckpointError):
        read_meta(tmp_path / 'none.pth')
