import io
import os
import random
import stat
import tarfile
import zipfile
from pathlib import Path
from types import SimpleNamespace

import pytest
from prepare_sets import contents, picture, save

from mmirstd.datasets.prepare import archives
from mmirstd.datasets.prepare.archives import ArchiveError, ArchiveLimits, archive_extension, unpack


def write_zip(path, members, **kwargs):
    with zipfile.ZipFile(path, 'w', zipfile.ZIP_DEFLATED, **kwargs) as file:
        for name, content in members:
            file.writestr(name, content)
    return path


def write_tar(path, members, mode='w:gz'):
    with tarfile.open(path, mode) as file:
        for member, content in members:
            info = tarfile.TarInfo(member) if isinstance(member, str) else member
            info.size = len(content)
            file.addfile(info, io.BytesIO(content))
    return path


TAR_MODES = {'.tar': 'w', '.gz': 'w:gz', '.tgz': 'w:gz', '.bz2': 'w:bz2', '.xz': 'w:xz'}
GOOD = [('set/images/1.png', b'one'), ('set/masks/1.png', b'mask'), ('set/train.txt', b'1\n'), ('set/1.xml', b'<x/>')]
LITTER = [('__MACOSX/set/images/._1.png', b'x'), ('set/.DS_Store', b'x'), ('set/images/Thumbs.db', b'x')]


@pytest.mark.parametrize('name', ['a.zip', 'a.tar', 'a.tar.gz', 'a.tgz', 'a.tar.bz2', 'a.tar.xz'])
def test_unpack(tmp_path, name):
    path = tmp_path / name
    if name.endswith('.zip'):
        write_zip(path, [('set/', b''), *GOOD, *LITTER])
    else:
        write_tar(path, GOOD + LITTER, TAR_MODES[Path(name).suffix])
    folder, others = unpack(path, tmp_path / 'to', ArchiveLimits())
    assert folder.name == 'a'
    assert contents(folder) == dict(GOOD[:3])
    assert others == ['set/1.xml']


@pytest.mark.parametrize(
    'name', ['../evil.png', 'set/../../evil.png', '/etc/evil.png', 'C:\\evil.png', '..\\evil.png', 'a\n.png']
)
@pytest.mark.parametrize('kind', ['zip', 'tar'])
def test_path_traversal_is_refused(tmp_path, name, kind):
    members = [('set/images/1.png', b'one'), (name, b'evil')]
    path = tmp_path / 'deep' / 'er' / f'bad.{kind}'
    path.parent.mkdir(parents=True)
    write_zip(path, members) if kind == 'zip' else write_tar(path, members, 'w')
    with pytest.raises(ArchiveError, match=r'bad\.\w+: the member .*nothing is unpacked'):
        unpack(path, tmp_path / 'deep' / 'to', ArchiveLimits())
    assert [p.name for p in tmp_path.rglob('*') if p.is_file()] == [path.name]


def test_links_and_devices_are_refused(tmp_path):
    secret = tmp_path / 'secret.png'
    secret.write_bytes(b'secret')
    link = zipfile.ZipInfo('set/images')
    link.create_system, link.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
    bad = [write_zip(tmp_path / 'link.zip', [(link, str(tmp_path)), ('set/images/evil.png', b'evil')])]
    for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE):
        info = tarfile.TarInfo('set/images/1.png')
        info.type, info.linkname = kind, str(secret)
        bad.append(write_tar(tmp_path / f'{kind!r}.tar'.replace("'", ''), [(info, b'')], 'w'))
    for path in bad:
        with pytest.raises(ArchiveError, match=r'a link or a device|is not safe \(.*; nothing is unpacked'):
            unpack(path, tmp_path / 'to', ArchiveLimits())
    assert not contents(tmp_path / 'to')


def test_bombs_are_refused(tmp_path):
    path = write_zip(tmp_path / 'bomb.zip', [(f'{i}.png', bytes(1 << 20)) for i in range(8)])
    assert path.stat().st_size < 1 << 14
    for limits, reason in (
        (ArchiveLimits(total_bytes=4 << 20), 'unpacks to 8388608 bytes, more than the limit of 4194304'),
        (ArchiveLimits(file_bytes=1000), r'0\.png unpacks to 1048576 bytes, more than the limit of 1000'),
        (ArchiveLimits(members=7), 'more than 7 files'),
    ):
        with pytest.raises(ArchiveError, match=reason):
            unpack(path, tmp_path / 'to', limits)
    assert not contents(tmp_path / 'to')


def test_no_room(tmp_path, monkeypatch):
    path = write_zip(tmp_path / 'a.zip', GOOD)
    monkeypatch.setattr(archives.shutil, 'disk_usage', lambda _: SimpleNamespace(free=5))
    with pytest.raises(ArchiveError, match='unpacks to 9 more bytes, and 5 are free'):
        unpack(path, tmp_path / 'to', ArchiveLimits())


def test_lying_header_writes_no_more_than_it_says(tmp_path):
    path = write_zip(tmp_path / 'a.zip', [('1.png', bytes(5 << 20))])
    content = bytearray(path.read_bytes())
    true, false = (5 << 20).to_bytes(4, 'little'), (100).to_bytes(4, 'little')
    assert content.count(true) == 2
    path.write_bytes(content.replace(true, false))
    with pytest.raises(ArchiveError, match='damaged'):
        unpack(path, tmp_path / 'to', ArchiveLimits())
    assert not contents(tmp_path / 'to')


def test_more_bytes_than_promised(tmp_path):
    member = archives.ArchiveMember(archives.PurePosixPath('1.png'), 10, lambda: io.BytesIO(bytes(11)))
    with pytest.raises(ArchiveError, match=r'1\.png has not the 10 bytes'):
        archives._write_member(tmp_path / 'a.zip', member, tmp_path / '1.png')
    assert not contents(tmp_path)


@pytest.mark.parametrize('name', ['a.zip', 'a.tar.gz', 'a.tar.xz', 'a.tar.bz2', 'a.tar'])
def test_truncated_at_any_place(tmp_path, name):
    path = tmp_path / name
    members = [(f'images/{i}.png', os.urandom(3000)) for i in range(4)]
    write_zip(path, members) if name.endswith('zip') else write_tar(path, members, TAR_MODES[path.suffix])
    whole = path.read_bytes()
    end = len(whole) if name != 'a.tar' else 4 * (512 + 3072)  # the rest is padding
    for cut in range(0, end - 1, end // 23):
        path.write_bytes(whole[:cut])
        os.utime(path, ns=(cut, cut))
        to = tmp_path / f'to{cut}'
        with pytest.raises(ArchiveError, match=r'damaged|has not the'):
            unpack(path, to, ArchiveLimits())
        written = {k.split('/', 2)[2]: v for k, v in contents(to).items()}
        assert written.items() <= dict(members).items()


def test_damaged_content(tmp_path):
    path = write_zip(tmp_path / 'a.zip', [('1.png', os.urandom(5000))])
    content = bytearray(path.read_bytes())
    content[2000] ^= 255
    path.write_bytes(content)
    with pytest.raises(ArchiveError, match=r'a\.zip: damaged'):
        unpack(path, tmp_path / 'to', ArchiveLimits())
    assert not contents(tmp_path / 'to')


@pytest.mark.parametrize('name', ['a.zip', 'a.tar.gz', 'a.tar.xz', 'a.tar.bz2', 'a.tar'])
def test_flipped_bytes(tmp_path, name):
    """Whatever is damaged, it is said so, or the files come out whole: zip and compressed tar files have checksums."""
    rng = random.Random(0)
    path = tmp_path / name
    members = [(f'images/{i}.png', rng.randbytes(500)) for i in range(3)]
    write_zip(path, members) if name.endswith('zip') else write_tar(path, members, TAR_MODES[path.suffix])
    whole = path.read_bytes()
    refused = 0
    for n in range(60):
        damaged = bytearray(whole)
        damaged[rng.randrange(len(whole))] ^= 1 << rng.randrange(8)
        path.write_bytes(damaged)
        try:
            folder, _ = unpack(path, tmp_path / f'to{n}', ArchiveLimits())
        except ArchiveError:
            refused += 1
            continue
        if name != 'a.tar':
            assert set(contents(folder).values()) <= set(dict(members).values())
    assert refused > (5 if name == 'a.tar' else 30)


def test_encrypted_and_doubled(tmp_path):
    path = write_zip(tmp_path / 'a.zip', [('1.png', b'abc')])
    content = bytearray(path.read_bytes())
    for header, at in ((b'PK\x03\x04', 6), (b'PK\x01\x02', 8)):
        content[content.index(header) + at] |= 1
    path.write_bytes(content)
    with pytest.raises(ArchiveError, match='encrypted'):
        unpack(path, tmp_path / 'to', ArchiveLimits())
    path = write_tar(tmp_path / 'b.tar', [('1.png', b'abc'), ('1.PNG', b'def')], 'w')
    with pytest.raises(ArchiveError, match='is in it twice'):
        unpack(path, tmp_path / 'to', ArchiveLimits())
    (tmp_path / 'c.zip').write_bytes(b'not an archive')
    (tmp_path / 'c.tar').write_bytes(b'not an archive')
    for name in ('c.zip', 'c.tar'):
        with pytest.raises(ArchiveError, match='damaged, or not'):
            unpack(tmp_path / name, tmp_path / 'to', ArchiveLimits())


def test_unpacking_goes_on_where_it_stopped(tmp_path):
    names = [f'images/{i}.png' for i in range(5)]
    files = {name: save(tmp_path / 'from' / name, picture(name)).read_bytes() for name in names}
    path = write_zip(tmp_path / 'a.zip', files.items())
    folder, _ = unpack(path, tmp_path / 'to', ArchiveLimits())
    (folder / names[0]).unlink()
    (folder / names[1]).write_bytes(b'half')
    (folder / 'images' / '.2.png.99.tmp').write_bytes(b'half')
    times = {name: (folder / name).stat().st_mtime_ns for name in names[2:]}
    again, _ = unpack(path, tmp_path / 'to', ArchiveLimits())
    assert again == folder
    assert {k: v for k, v in contents(folder).items() if not k.endswith('.tmp')} == files
    assert {name: (folder / name).stat().st_mtime_ns for name in names[2:]} == times
    # Another archive of that name does not mix with it.
    other, _ = unpack(write_zip(path, [('images/9.png', b'nine')]), tmp_path / 'to', ArchiveLimits())
    assert other != folder
    assert contents(other) == {'images/9.png': b'nine'}


def test_tar_needs_the_filter_of_the_standard_library(tmp_path, monkeypatch):
    path = write_tar(tmp_path / 'a.tar', GOOD, 'w')
    monkeypatch.delattr(tarfile, 'data_filter')
    with pytest.raises(ArchiveError, match=r'a\.tar: tar archives are unpacked by Python 3\.10\.12'):
        unpack(path, tmp_path / 'to', ArchiveLimits())


def test_archive_extension():
    assert archive_extension(Path('A.TAR.GZ')) == '.tar.gz'
    assert archive_extension(Path('a.zip')) == '.zip'
    assert archive_extension(Path('a.part1.rar')) is None
