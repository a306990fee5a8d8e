"""From uploaded files to what the page shows and gives, without Gradio."""

import csv
import zipfile

import cv2
import numpy as np
import pytest
import tifffile

from mmirstd.app import results as results_module
from mmirstd.app.session import MAX_WINDOWS, ChoosableModels, ModelChoice, NothingShownError, Window, Windows
from mmirstd.app.uploads import UploadLimits
from mmirstd.checkpoints.state_dict import CheckpointError
from mmirstd.io.video import video_writer
from mmirstd.ops.detections import COLUMNS
from mmirstd.utils.configs import DEFAULT_MODEL
from mmirstd.utils.errors import ArgumentError


def scene(seed=0, size=(32, 48)):
    image = np.random.default_rng(seed).normal(60, 5, size)
    image[10:13, 20:23] += 120
    return image.astype(np.uint8)


@pytest.fixture
def uploaded(tmp_path):
    """Where the server puts uploads."""
    folder = tmp_path / 'server/uploaded'
    folder.mkdir(parents=True)
    return folder


@pytest.fixture
def window(models, uploaded):
    """A window of the page."""
    opened = Window(models, UploadLimits(frames=3, total_pixels=32 * 48 * 8), uploaded)
    yield opened
    opened.close()
    assert list(uploaded.parent.glob('window_*')) == []


@pytest.fixture
def files(uploaded):
    """Two images, one of them in 16 bits, a video of five frames, and a file that is none."""
    cv2.imwrite(str(uploaded / 'a.png'), scene())
    tifffile.imwrite(uploaded / 'a.tif', scene(1).astype(np.uint16) * 100)
    with video_writer(uploaded / 'clip.avi.mp4', 10) as write:
        for seed in range(5):
            write(np.repeat(scene(seed)[..., None], 3, 2))
    (uploaded / 'bad.png').write_bytes(b'\x89PNG\r\n\x1a\n')
    return sorted(uploaded.iterdir())


@pytest.fixture
def name(models):
    """Of the model."""
    return next(iter(models.choices))


def test_the_models_are_those_of_the_package_and_those_added(models, choice, name):
    assert name == 'tiny (tiny.pth)'
    assert list(models.choices)[1] == DEFAULT_MODEL
    assert next(iter(ChoosableModels().choices)) == DEFAULT_MODEL
    assert models.get(name) is models.get(name)
    assert models.threshold(name) == 0.5
    with pytest.raises(ArgumentError, match="there is no model 'other' here"):
        models.get('other')
    with pytest.raises(ArgumentError, match='two are called tiny'):
        ChoosableModels([choice, choice])
    with pytest.raises(CheckpointError, match=r'no checkpoint file gone\.pth'):
        ChoosableModels([ModelChoice(choice.config, 'gone.pth')])


def test_the_operating_point_of_the_weights_is_the_first_threshold(choice, tmp_path, name, monkeypatch):
    models = ChoosableModels([choice], 'cpu')
    models.get(name).model.operating_point = type('Point', (), {'threshold': 0.73})()
    assert models.threshold(name) == 0.73


def test_what_is_shown_is_what_the_inferencer_finds(window, files, models, name):
    expected = {
        path.name: models.get(name)(str(path), threshold=0.4)['predictions'][0]
        for path in files
        if path.name in ('a.png', 'a.tif')
    }
    problems = window.take(files, name)
    assert [(result.name, window.frames(result.name)) for result in window.results] == [
        ('000000_a', 0), ('000001_a', 0), ('clip.avi', 3)
    ]  # fmt: skip
    assert problems == {
        'bad.png': problems['bad.png'],
        'clip.avi.mp4': 'only its first 3 of 5 frames are shown',
    }
    assert problems['bad.png'].startswith('not a readable image')
    for shown, path in (('000000_a', 'a.png'), ('000001_a', 'a.tif')):
        view = window.view(shown, 0, 0.4)
        want = expected[path]
        assert view.summary == f'{len(want)} target{"s" if len(want) != 1 else ""} in {shown} at threshold 0.4'
        assert len(want) > 0
        for row, found in zip(view.rows, want.rows(), strict=True):
            assert row[2:7] == [found[key] for key in COLUMNS[3:8]]
            assert row[7] == round(found['score'], 3)
        assert view.picture.dtype == np.uint8
        assert view.picture.shape[2] == 3


def test_the_threshold_changes_what_is_shown_without_the_network(window, files, models, name, monkeypatch):
    window.take(files, name)
    monkeypatch.setattr(models.get(name).model, 'forward', None)  # whoever calls it fails
    few, many = (window.view('000000_a', 0, threshold) for threshold in (0.95, 0.3))
    assert few.rows != many.rows
    assert (few.picture.shape != many.picture.shape) or (few.picture != many.picture).any()
    first, last = (window.view('clip.avi', position, 0.4) for position in (0, 2))
    assert 'clip.avi, frame 0, 0.00 s' in first.summary
    assert 'clip.avi, frame 2, 0.20 s' in last.summary
    assert window.view('clip.avi', 99, 0.4).summary == last.summary
    for threshold in (1.0, -0.1, float('nan')):
        with pytest.raises(ValueError, match=r'a threshold in \[0, 1\)'):
            window.view('000000_a', 0, threshold)


def test_thresholds_close_to_1_are_told_from_1(window, files, models, name):
    window.take(files[:1], name)
    assert window.view('a', 0, 0.9998).summary.endswith('in a at threshold 1 - 0.0002')
    models.get(name).model.operating_point = type('Point', (), {'threshold': 0.9999998})()
    assert window.view('a', 0, None).summary.endswith(
        'in a at threshold 1 - 2e-07'
    )  # of an empty field: the model's own
    table = {path.name: path for path in window.files('a', 0, None)}['a_targets.csv']
    with open(table, newline='') as file:
        assert len(list(csv.DictReader(file))) == len(window.view('a', 0, 0.9999998).rows)


def test_another_model_predicts_for_the_same_files(window, files, models, name):
    window.take([files[0], files[2]], name)
    before = window.results[0].predictions[0].detections.probability
    assert list(window.predict(DEFAULT_MODEL)) == ['bad.png']  # which was said of the files before, too
    after = window.results[0].predictions[0].detections.probability
    assert before.shape == after.shape
    assert (before != after).any()


def test_files_to_download(window, files, name):
    window.take(files, name)
    written = window.files('000001_a', 0, 0.4)
    names = ['000001_a_mask.png', '000001_a_picture.png', '000001_a_targets.csv', 'all.zip']
    assert [path.name for path in written] == names
    found = window.results[1].at(0.4).detections
    assert (cv2.imread(str(written[0]), cv2.IMREAD_UNCHANGED) == found.mask * 255).all()
    assert (cv2.imread(str(written[1]))[..., ::-1] == window.view('000001_a', 0, 0.4).picture).all()
    with open(written[2], newline='') as file:
        assert len(list(csv.DictReader(file))) == len(found)
    with zipfile.ZipFile(written[3]) as archive:
        assert sorted(archive.namelist()) == [
            'masks/000000_a.png', 'masks/000001_a.png', 'pictures/000000_a.png', 'pictures/000001_a.png',
            'sequences/clip.avi.mp4', 'sequences/clip.avi_frames.csv', 'sequences/clip.avi_targets.csv', 'targets.csv',
        ]  # fmt: skip
        assert archive.testzip() is None
    clip = {path.name: path for path in window.files('clip.avi', 1, 0.4)}
    assert not written[0].exists()
    assert {'clip.avi_frame_1_0.10_s_mask.png', 'clip.avi.mp4', 'clip.avi_frames.csv'} <= {
        name.replace(', ', '_').replace(' ', '_') for name in clip
    }
    with open(clip['clip.avi_frames.csv'], newline='') as file:
        rows = list(csv.DictReader(file))
    numbers = [len(prediction.at(0.4).detections) for prediction in window.results[2].predictions]
    assert [int(row['targets']) for row in rows] == numbers


def test_a_long_table_is_cut(window, files, name, monkeypatch):
    monkeypatch.setattr(results_module, 'MAX_ROWS', 1)
    window.take(files[:1], name)
    count = len(window.results[0].at(0.3).detections)
    assert count > 1
    view = window.view('a', 0, 0.3)
    assert len(view.rows) == 1
    assert view.summary == f'{count} targets in a at threshold 0.3; the table shows the first 1'


def test_there_is_room_for_so_many_pixels(models, uploaded, files, name):
    window = Window(models, UploadLimits(total_pixels=32 * 48 * 3), uploaded)
    problems = window.take(files, name)
    assert [(result.name, len(result.predictions)) for result in window.results] == [
        ('000000_a', 1), ('000001_a', 1), ('clip.avi', 1)
    ]  # fmt: skip
    assert problems['clip.avi.mp4'] == 'only its first 1 of 5 frames are shown'
    again = [uploaded / f'{i}.png' for i in range(4)]
    for path in again:
        cv2.imwrite(str(path), scene())
    assert window.take(again, name) == {'3.png': 'there is no room left: 4608 pixels are shown at once'}
    window.close()


def test_files_without_any_image(window, uploaded, name):
    (uploaded / 'x.txt').touch()
    assert window.take([uploaded / 'x.txt'], name)['x.txt'].startswith('neither an image')
    assert window.results == []
    with pytest.raises(NothingShownError, match='drop it again'):
        window.view('x', 0, 0.5)
    assert window.take([], name) == {}


def test_windows_make_room_and_leave_nothing(models, uploaded, name):
    windows = Windows(models, UploadLimits(), uploaded)
    for key in range(MAX_WINDOWS + 2):
        cv2.imwrite(str(uploaded / 'a.png'), scene())
        windows[str(key)].take([uploaded / 'a.png'], name)
    assert len(windows) == MAX_WINDOWS
    assert len(list(uploaded.parent.glob('window_*'))) == MAX_WINDOWS
    assert windows['5'].results
    assert windows['0'].results == []
    windows.close('5')
    windows.close('never opened')
    assert len(windows) == MAX_WINDOWS - 1
    windows.close()
    assert list(uploaded.parent.glob('window_*')) == []
