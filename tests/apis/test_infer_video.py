"""``mmirstd infer`` on sequences: an annotated video and tables, tracks, damaged frames, constant memory."""

import csv
import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile

from mmirstd.apis import init_model, predict
from mmirstd.apis.linking import Linker
from mmirstd.io.video import FrameReader
from mmirstd.ops.detections import detect_targets
from mmirstd.utils.errors import MissingExtraError


def scene(i, size=(32, 48)):
    """Two targets that move toward each other."""
    image = np.random.default_rng(0).normal(60, 3, size)
    image[6:9, 4 + i : 7 + i] += 120
    image[20:23, 40 - i : 43 - i] += 120
    return image.clip(0, 255).astype(np.uint8)


def write_video(path, number=8, code='MJPG'):
    video = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*code), 20.0, (48, 32))
    for i in range(number):
        video.write(cv2.cvtColor(scene(i), cv2.COLOR_GRAY2BGR))
    video.release()


def table(path):
    return list(csv.DictReader(Path(path).read_text().splitlines()))


@pytest.fixture
def run(call, tiny_config, tiny_checkpoint):
    given = ['--model', tiny_config(), '--checkpoint', tiny_checkpoint, '--out', 'out', '--device', 'cpu']
    return lambda *arguments: call('infer', *arguments, *given)


@pytest.mark.parametrize('batch_size', [1, 3])
def test_a_video_gives_a_video_and_tables(run, capsys, batch_size, tiny_config, tiny_checkpoint):
    write_video('clip.avi')
    assert run('clip.avi', 'tiny/images/0.png', '--batch-size', batch_size) == 0
    model = init_model(tiny_config(), tiny_checkpoint, 'cpu')
    found = predict(model, [f.image for f in FrameReader('clip.avi')], batch_size=batch_size)
    rows = table('out/sequences/clip_frames.csv')
    assert [(row['frame'], row['targets'], row['problem']) for row in rows] == [
        (str(i), str(len(one)), '') for i, one in enumerate(found)
    ]
    assert [row['time'] for row in rows] == ['0.0', '0.05', '0.1', '0.15', '0.2', '0.25', '0.3', '0.35']
    targets = table('out/sequences/clip_targets.csv')
    assert [int(row['frame']) for row in targets] == [i for i, one in enumerate(found) for _ in range(len(one))]
    assert [float(row['peak']) for row in targets] == [peak for one in found for peak in one.peaks.tolist()]
    assert {row['track'] for row in targets} == {''}
    drawn = FrameReader('out/sequences/clip.mp4')
    assert (drawn.number, drawn.fps, next(iter(drawn)).image.shape) == (8, 20.0, (352, 528, 3))
    report = json.loads(Path('out/targets.json').read_text())
    total = sum(map(len, found))
    assert report['sequences'] == [
        {'name': 'clip', 'path': 'clip.avi', 'frames': 8, 'targets': total, 'tracks': 0, 'fps': 20.0}
    ]
    assert [image['image'] for image in report['images']] == ['0']
    assert (
        f'{total + len(table("out/targets.csv"))} targets in 1 image, 8 frames of clip: out' in capsys.readouterr().out
    )
    assert 'out/sequences/clip_frames.csv' in run('clip.avi')  # would be replaced


def test_pages_are_frames_and_a_damaged_one_is_passed_over(run, capsys):
    with tifffile.TiffWriter('stack.tif') as tiff:
        for i in range(5):
            tiff.write(scene(i), compression='zlib', metadata=None)
    with tifffile.TiffFile('stack.tif') as tiff:
        at = tiff.pages[2].dataoffsets[0]
    content = bytearray(Path('stack.tif').read_bytes())
    content[at : at + 20] = bytes(20)
    Path('stack.tif').write_bytes(content)
    assert run('stack.tif', '--no-pictures') == 1
    rows = table('out/sequences/stack_frames.csv')
    assert [bool(row['problem']) for row in rows] == [False, False, True, False, False]
    assert [row['targets'] == '' for row in rows] == [False, False, True, False, False]
    assert 'no prediction: stack.tif, frame 2: not a readable page' in capsys.readouterr().err
    assert sorted(p.name for p in Path('out/sequences').iterdir()) == ['stack_frames.csv', 'stack_targets.csv']


def test_lost_frames_and_unreadable_videos_are_reported(run, capsys):
    write_video('clip.avi', 20)
    content = bytearray(Path('clip.avi').read_bytes())
    middle = len(content) // 2
    content[middle : middle + 1200] = bytes(1200)
    Path('clip.avi').write_bytes(content)
    Path('none.mp4').write_bytes(b'no video')
    assert run('clip.avi', 'none.mp4') == 1
    captured = capsys.readouterr()
    assert 'no prediction: clip.avi: ' in captured.err
    assert 'of 20 frames are damaged or missing' in captured.err
    assert 'no prediction: none.mp4: not a readable video' in captured.err
    assert list(json.loads(Path('out/targets.json').read_text())['failures']) == ['clip.avi', 'none.mp4']
    assert 'no prediction for any of 1 image: none.mp4' in run('none.mp4', '--overwrite')


def found(*places):
    probability = np.zeros((64, 96), np.float32)
    for row, col in places:
        probability[row : row + 2, col : col + 2] = 0.9
    return detect_targets(probability)


def test_tracks():
    pytest.importorskip('trackers')
    link = Linker()
    tracks = []
    for i in range(12):
        places = [(10, 6 + 5 * i)] if i == 5 else [(10, 6 + 5 * i), (40, 80 - 6 * i)]
        tracks.append(link(found(*places)) if i != 8 else link(None))  # one detection and one frame are missing
    assert tracks[:2] == [[None, None], [1, 2]]
    assert tracks[5] == [1]
    assert [numbers for i, numbers in enumerate(tracks) if i not in (0, 5, 8)] == [[1, 2]] * 9
    assert tracks[8] == []
    assert Linker()(found((1, 1))) == [None]  # another sequence begins anew


def test_tracks_in_table_and_picture(run, monkeypatch):
    pytest.importorskip('trackers')
    from mmirstd.apis import inferencer

    def detect(probability, image, **options):  # what a trained network would find
        return detect_targets((image.max(2) > 130).astype(np.float32) * np.float32(0.9), image, **options)

    monkeypatch.setattr(inferencer, 'detect_targets', detect)
    write_video('clip.avi')
    assert run('clip.avi', '--link') == 0
    tracks = {}
    for row in table('out/sequences/clip_targets.csv'):
        tracks.setdefault(row['track'], []).append(float(row['col']))
    assert {track: len(columns) for track, columns in tracks.items()} == {'': 2, '1': 7, '2': 7}
    assert np.all(np.diff(tracks['1']) > 0.5)
    assert np.all(np.diff(tracks['2']) < -0.5)
    assert json.loads(Path('out/targets.json').read_text())['sequences'][0]['tracks'] == 2

    for folder in ('a', 'b'):  # each folder is a sequence
        Path(folder).mkdir()
        for i in range(4):
            cv2.imwrite(f'{folder}/{i}.png', scene(i))
    Path('a/1.png').write_bytes(b'damaged')
    assert run('a', 'b', '--link', '--overwrite') == 1
    rows = table('out/targets.csv')
    assert [row['track'] for row in rows] == ['', '', '', '', '1', '2', '', '', '1', '2', '1', '2', '1', '2']
    assert json.loads(Path('out/targets.json').read_text())['images'][-1]['targets'][1]['track'] == 2
    plain, tracked = (cv2.imread(f'out/pictures/{name}.png') for name in ('000004_0', '000005_1'))
    assert plain.shape == tracked.shape == (352, 528, 3)


def test_frames_are_linked_by_their_numbers(run):
    Path('flight').mkdir()
    for i in range(12):
        cv2.imwrite(f'flight/{i}.png', scene(i))
    assert run('flight', '--link', '--no-pictures') == 0
    rows = table('out/targets.csv')
    assert [row['image'] for row in rows[::2]] == [str(i) for i in range(12)]
    assert {row['track'] for row in rows} == {'', '1', '2'}


def test_the_extra_is_named(monkeypatch, run):
    monkeypatch.setitem(sys.modules, 'trackers', None)
    with pytest.raises(MissingExtraError, match=r"pip install 'mmirstd\[video\]'"):
        Linker()
    assert "--link needs the extra 'video'" in run('tiny/images', '--link')
    assert not Path('out').exists()


def test_memory_does_not_grow_with_the_frames(tiny_config, tiny_checkpoint, tmp_path, all_tests):
    video = cv2.VideoWriter(str(tmp_path / 'clip.avi'), cv2.VideoWriter_fourcc(*'MJPG'), 20.0, (256, 256))
    frame = np.random.default_rng(0).integers(0, 255, (256, 256, 3), dtype=np.uint8)
    for _ in range(1500 if all_tests else 120):
        video.write(frame)
    video.release()
    # 120 frames of 192 kB, their maps and pictures are over 100 MB.
    script = f"""
        from mmirstd.apis import infer_files, infer_video
        from mmirstd.apis.measuring import resident_peak
        peaks = []
        draw = infer_video.draw_frame
        def measured(*args):
            peaks.append(resident_peak())
            return draw(*args)
        infer_video.draw_frame = measured
        infer_files.infer({str(tmp_path / 'clip.avi')!r}, {str(tmp_path / 'out')!r}, {str(tiny_config())!r},
                          {str(tiny_checkpoint)!r}, device='cpu', min_area=4, threshold=0.99)
        print(peaks[20], peaks[-1])
    """
    command = [sys.executable, '-c', textwrap.dedent(script)]
    environment = os.environ | {'OMP_NUM_THREADS': '1'}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    early, late = map(int, done.stdout.split()[-2:])
    assert early > 1e8
    assert late - early < 3e7
