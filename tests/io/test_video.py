"""Frames of videos and of TIFF files of several pages; an annotated video is there whole or not at all."""

import cv2
import numpy as np
import pytest
import tifffile

from mmirstd.io.video import FrameReader, VideoSizeError, is_sequence, video_writer


def frames(number, size=(48, 64)):
    rng = np.random.default_rng(0)
    base = rng.integers(40, 80, size, dtype=np.uint8)
    for i in range(number):
        image = base.copy()
        image[5:9, 3 * i % (size[1] - 4) : 3 * i % (size[1] - 4) + 4] = 250
        yield np.stack([image] * 3, axis=2)


def write(path, number=12, code='MJPG', fps=20.0):
    video = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*code), fps, (64, 48))
    for frame in frames(number):
        video.write(frame)
    video.release()
    return path


@pytest.mark.parametrize(('name', 'code'), [('x.avi', 'MJPG'), ('x.mp4', 'mp4v'), ('x.mkv', 'mp4v')])
def test_a_video(tmp_path, name, code):
    reader = FrameReader(write(tmp_path / name, code=code))
    assert (reader.number, reader.fps) == (12, 20.0)
    for _ in range(2):  # a reader can be used again
        read = list(reader)
        assert [frame.number for frame in read] == list(range(12))
        np.testing.assert_allclose([frame.time for frame in read], np.arange(12) / 20, atol=1e-6)
        for frame, expected in zip(read, frames(12), strict=True):
            assert np.abs(frame.image.astype(int) - expected).mean() < 6
        assert reader.lost == ''


def test_pages_of_a_tiff(tmp_path):
    pages = np.random.default_rng(0).integers(0, 60000, (4, 20, 30), dtype=np.uint16)
    tifffile.imwrite(tmp_path / 'x.tif', pages, compression='zlib', photometric='minisblack')
    tifffile.imwrite(tmp_path / 'one.tif', pages[0])
    assert is_sequence(tmp_path / 'x.tif')
    assert not is_sequence(tmp_path / 'one.tif')
    read = list(FrameReader(tmp_path / 'x.tif'))
    np.testing.assert_array_equal([frame.image for frame in read], pages)
    assert [(frame.number, frame.time) for frame in read] == [(i, None) for i in range(4)]
    color = np.stack([pages[0], pages[1], pages[2]], axis=2)
    tifffile.imwrite(tmp_path / 'x.tif', np.stack([color, color[::-1]]), photometric='rgb')
    np.testing.assert_array_equal([frame.image for frame in FrameReader(tmp_path / 'x.tif')][1], color[::-1, :, ::-1])


def test_a_damaged_page_is_one_frame_less(tmp_path):
    pages = np.random.default_rng(0).integers(0, 60000, (4, 20, 30), dtype=np.uint16)
    with tifffile.TiffWriter(tmp_path / 'x.tif') as tiff:
        for page in pages:
            tiff.write(page, compression='zlib', metadata=None)
    with tifffile.TiffFile(tmp_path / 'x.tif') as tiff:
        at = tiff.pages[2].dataoffsets[0]
    content = bytearray((tmp_path / 'x.tif').read_bytes())
    content[at : at + 20] = bytes(20)
    (tmp_path / 'x.tif').write_bytes(content)
    read = list(FrameReader(tmp_path / 'x.tif'))
    assert [frame.image is None for frame in read] == [False, False, True, False]
    assert 'not a readable page' in read[2].problem
    np.testing.assert_array_equal(read[3].image, pages[3])


@pytest.mark.parametrize(('name', 'code', 'where'), [('x.avi', 'MJPG', ''), ('x.mkv', 'MJPG', ', after 0.25 s')])
def test_a_damaged_frame_of_a_video_is_counted(tmp_path, name, code, where):
    content = bytearray(write(tmp_path / name, code=code).read_bytes())
    middle = len(content) // 2
    content[middle : middle + 1500] = bytes(1500)
    (tmp_path / name).write_bytes(content)
    reader = FrameReader(tmp_path / name)
    read = list(reader)
    assert 5 < len(read) < 12
    assert reader.lost.startswith(f'{12 - len(read)} of 12 frames are damaged or missing{where}')


def test_what_is_no_video(tmp_path):
    (tmp_path / 'x.mp4').write_bytes(write(tmp_path / 'y.mp4', code='mp4v').read_bytes()[:2000])
    (tmp_path / 'empty.avi').write_bytes(b'')
    for name in ('x.mp4', 'empty.avi'):
        assert is_sequence(tmp_path / name)
        with pytest.raises(ValueError, match=f'{name}: not a readable video'):
            FrameReader(tmp_path / name)
    (tmp_path / 'bad.tif').write_bytes(b'II*\0' + bytes(30))
    (tmp_path / 'empty.tif').write_bytes(b'')
    assert not any(is_sequence(tmp_path / name) for name in ('bad.tif', 'empty.tif', 'none.mp4', 'y.png', ''))


def test_a_video_without_a_frame(tmp_path, monkeypatch):
    monkeypatch.setattr(cv2.VideoCapture, 'read', lambda self: (False, None), raising=False)
    reader = FrameReader(write(tmp_path / 'x.avi', 1))
    reader.number = 0
    assert list(reader) == []
    assert reader.lost == 'there is no frame'


@pytest.mark.parametrize('fps', [59.9401, 100.123, 119.983, 239.974, 1000.5])
def test_a_video_of_any_rate(tmp_path, fps):
    with video_writer(tmp_path / 'x.mp4', fps) as write_frame:
        for frame in frames(3):
            write_frame(frame)
    reader = FrameReader(tmp_path / 'x.mp4')
    assert reader.number == 3
    assert reader.fps == pytest.approx(fps, rel=1e-3)


def test_a_video_that_cannot_be_written_says_its_size(tmp_path):
    with (
        video_writer(tmp_path / 'x.mp4', 25) as write_frame,
        pytest.raises(VideoSizeError, match=r'x\.mp4: .* 9000x20 at 25 frames'),
    ):
        write_frame(np.zeros((20, 9000, 3), np.uint8))
    assert not list(tmp_path.iterdir())


def test_a_tiff_that_cannot_be_opened_is_no_sequence(tmp_path, monkeypatch):
    (tmp_path / 'x.tif').write_bytes(b'II*')
    monkeypatch.setattr('mmirstd.io.video._mapped', lambda path: (_ for _ in ()).throw(PermissionError(path)))
    assert not is_sequence(tmp_path / 'x.tif')


def test_an_annotated_video(tmp_path):
    with video_writer(tmp_path / 'out/x.mp4', 10.0) as write_frame:
        for frame in frames(5, (47, 63)):  # odd sides
            write_frame(frame)
        assert not (tmp_path / 'out/x.mp4').exists()
    reader = FrameReader(tmp_path / 'out/x.mp4')
    assert (reader.number, reader.fps, next(iter(reader)).image.shape) == (5, 10.0, (48, 64, 3))
    with video_writer(tmp_path / 'out/none.mp4', 10.0):
        pass
    with pytest.raises(KeyboardInterrupt), video_writer(tmp_path / 'out/broken.mp4', 10.0) as write_frame:  # noqa: PT012
        write_frame(next(frames(1)))
        raise KeyboardInterrupt
    assert [p.name for p in (tmp_path / 'out').iterdir()] == ['x.mp4']
