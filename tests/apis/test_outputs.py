"""No command replaces what it did not write, or works in a folder that another one works in."""

import numpy as np
import pytest

from mmirstd.apis import convert_checkpoint, prepare, synthesize
from mmirstd.apis.synthesizing import SynthesisError
from mmirstd.io.files import write_png
from mmirstd.utils.locks import FolderInUseError, output_lock


def files(folder):
    return {p.relative_to(folder): p.read_bytes() for p in sorted(folder.rglob('*')) if p.is_file()}


def test_a_converter_does_not_overwrite_its_source(tmp_path):
    path = tmp_path / 'repvit.pth'
    path.write_bytes(b'weights')
    with pytest.raises(FileExistsError, match=r'repvit\.pth: would replace what is read here'):
        convert_checkpoint('repvit', path, path, overwrite=True)
    assert path.read_bytes() == b'weights'


@pytest.fixture
def scenes(tmp_path):
    def write(**kwargs):
        return synthesize(tmp_path / 'out', train=1, val=0, test=1, size=(32, 32), workers=1, **kwargs)

    return write


def test_files_among_synthetic_scenes_do_not_go_with_them(scenes, tmp_path):
    out = scenes()
    backup = tmp_path / 'out.old'
    out.rename(backup)
    before = files(backup)
    out = scenes()
    scenes(seed=1, overwrite=True)
    assert files(backup) == before
    for name in ('notes.txt', 'images/mine.png'):
        (out / name).write_text('mine')
        with pytest.raises(SynthesisError, match=rf'out holds {name}, not written by mmirstd synthesize'):
            scenes(seed=2, overwrite=True)
        assert (out / name).read_text() == 'mine'
        (out / name).unlink()


def test_a_target_is_for_one_process(scenes, tmp_path, monkeypatch):
    monkeypatch.setattr('mmirstd.utils.locks.PATIENCE', 0)
    for folder in ('images', 'masks'):
        write_png(tmp_path / f'mine/{folder}/0.png', np.eye(16, dtype=np.uint8) * np.uint8(255))
    with output_lock(tmp_path / 'out'):
        with pytest.raises(FolderInUseError, match='out is in use by another process'):
            scenes()
        with pytest.raises(FolderInUseError, match='out is in use by another process'):
            prepare('folder', tmp_path / 'mine', tmp_path / 'out')
        assert not (tmp_path / 'out').exists()
        assert not list(tmp_path.glob('out.unfinished'))
