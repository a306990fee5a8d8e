"""The page itself: what keeps it from starting, and a click-through in headless Chromium.

The click-through is skipped where Gradio, Playwright or a Chromium is missing: ``make test-app`` has the first two.
"""

import csv
import os
import re
import shutil
import tempfile
import threading
import time
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest

from mmirstd.app import page as page_module
from mmirstd.app.page import opened
from mmirstd.app.session import ChoosableModels, Windows
from mmirstd.app.uploads import UploadLimits
from mmirstd.io.video import video_writer
from mmirstd.ops.detections import COLUMNS

CHROMIUM = os.environ.get('MMIRSTD_CHROMIUM') or shutil.which('chromium') or shutil.which('google-chrome')
TARGETS = [(10, 20), (40, 60), (50, 12)]


@pytest.mark.parametrize(
    ('found', 'message'),
    [
        (None, r"needs the extra 'app': pip install 'mmirstd\[app\]' \(there is no gradio\)"),
        ('3.50.2', r'gradio 3\.50\.2 is installed, 6 or newer is needed; it goes with pillow < 13, so give it an env'),
        ('5.50.0', r'gradio 5\.50\.0 is installed'),
    ],
)
def test_a_missing_or_old_gradio_is_said_at_once(call, monkeypatch, found, message):
    def version(name):
        if found is None:
            raise page_module.PackageNotFoundError(name)
        return found

    monkeypatch.setattr(page_module, 'version', version)
    line = call('app', '--no-browser')
    assert re.search(message, line), line


@pytest.mark.parametrize('option', [('--port', '0'), ('--max-frames', '0'), ('--max-megabytes', 'x')])
def test_options_out_of_range(call, option):
    assert call('app', *option) == 2


def test_the_threshold_field_begins_at_the_exact_threshold_of_the_model(choice, monkeypatch):
    models = ChoosableModels([choice], 'cpu')
    name = next(iter(models.choices))
    for threshold, shown in ((0.73, '0.73'), (1 - 0.000176, '1 - 0.000176'), (0.9999998, '1 - 2e-07')):
        monkeypatch.setattr(models, 'threshold', {name: threshold}.get)
        field = page_module.threshold_field(models, name)
        assert field['value'] == threshold
        assert field['info'].endswith(f"The model's own: {shown}")


def test_the_page_holds_a_threshold_close_to_1(choice, monkeypatch):
    pytest.importorskip('gradio')
    models = ChoosableModels([choice], 'cpu')
    monkeypatch.setattr(models, 'threshold', lambda name: 0.9999998)
    page = page_module.build(models, Windows(models, UploadLimits(), Path()), UploadLimits())
    (field,) = [block for block in page.blocks.values() if getattr(block, 'elem_id', None) == 'threshold']
    assert field.value == 0.9999998
    assert field.preprocess(field.value) == 0.9999998


def scene(seed):
    image = np.random.default_rng(seed).normal(60, 4, (64, 80))
    for row, col in TARGETS:
        image[row - 1 : row + 2, col - 1 : col + 2] += 130
    return image.astype(np.uint8)


@pytest.fixture
def address(choice, monkeypatch, tmp_path):
    """The page with the packaged model and one of random weights; afterwards no file is left."""
    pytest.importorskip('gradio')
    (tmp_path / 'temporary').mkdir()
    monkeypatch.setattr(tempfile, 'tempdir', str(tmp_path / 'temporary'))
    monkeypatch.setenv('GRADIO_SHARE', 'True')  # settings of the user's that must not matter
    monkeypatch.setenv('GRADIO_SERVER_NAME', '0.0.0.0')
    before = dict(os.environ)
    with opened([choice], device='cpu', limits=UploadLimits(file_bytes=1_000_000, pixels=80 * 64)) as address:
        assert address.startswith('http://127.0.0.1:')
        yield address
    assert dict(os.environ) == before
    assert list((tmp_path / 'temporary').glob('mmirstd_app_*')) == []


@pytest.fixture
def browser_page(address):
    """The page in Chromium, and the hosts that it asked for something."""
    playwright = pytest.importorskip('playwright.sync_api')
    if CHROMIUM is None:
        pytest.skip('no Chromium: set MMIRSTD_CHROMIUM')
    with playwright.sync_playwright() as p:
        browser = p.chromium.launch(executable_path=CHROMIUM, args=['--no-sandbox'])
        page = browser.new_page(viewport={'width': 1300, 'height': 1000}, accept_downloads=True)
        page.hosts = set()
        page.on('request', lambda request: page.hosts.add(request.url.split('/')[2] if '//' in request.url else ''))
        page.goto(address)
        page.wait_for_selector('#files input[type=file]', state='attached')
        yield page
        browser.close()


def summary(page, text):
    page.wait_for_function(
        "text => document.querySelector('#summary textarea, #summary input')?.value.includes(text)", arg=text
    )
    return page.input_value('#summary textarea, #summary input')


def rows(page):
    """The cells of the table that are shown."""
    found = page.query_selector_all('#table [role=row]:has([role=gridcell])')
    return [[cell.inner_text().strip() for cell in row.query_selector_all('[role=gridcell]')] for row in found]


def test_a_click_through(browser_page, address, tmp_path):
    page = browser_page
    for seed, name in enumerate(('one.png', 'two.png')):
        cv2.imwrite(str(tmp_path / name), scene(seed))
    (tmp_path / 'bad.png').write_bytes(b'<script>alert(1)</script>')
    page.click('#model input')
    page.get_by_role('option', name='sgem_unet-s_joint').click()
    page.wait_for_function("document.querySelector('#model input').value == 'sgem_unet-s_joint'")

    dropped = [str(tmp_path / name) for name in ('one.png', 'two.png', 'bad.png')]
    page.set_input_files('#files input[type=file]', dropped)
    assert summary(page, 'in one at threshold') == '3 targets in one at threshold 0.5'
    page.wait_for_selector('#picture img')
    assert page.input_value('#problems textarea') == ('bad.png: not a readable image (neither PNG, BMP, JPEG nor TIFF)')
    page.wait_for_selector('#table [role=gridcell]')
    shown = [[float(cell) for cell in row[:2]] for row in rows(page)]
    assert np.allclose(shown, TARGETS, atol=1)

    page.fill('#threshold input[type=number]', '0.999')
    page.keyboard.press('Enter')
    high = summary(page, 'threshold 0.999')
    page.fill('#threshold input[type=number]', '0.2')
    page.keyboard.press('Enter')
    low = summary(page, 'threshold 0.2')
    assert high.split()[0] <= low.split()[0]
    page.fill('#threshold input[type=number]', '0.9999998')
    summary(page, 'threshold 1 - 2e-07')
    page.fill('#threshold input[type=number]', '')
    summary(page, 'threshold 0.5')
    page.fill('#threshold input[type=number]', '0.2')
    summary(page, 'threshold 0.2')

    page.click('#chosen input')
    page.get_by_role('option', name='two').click()
    summary(page, 'targets in two at threshold 0.2')
    page.click('#make')
    page.wait_for_selector('#downloads a[download]')
    files = {}
    for link in page.query_selector_all('#downloads a[download]'):
        with page.expect_download() as download:
            link.click()
        files[download.value.suggested_filename] = download.value.path()
    assert sorted(files) == ['all.zip', 'two_mask.png', 'two_picture.png', 'two_targets.csv']
    mask = cv2.imread(str(files['two_mask.png']), cv2.IMREAD_UNCHANGED)
    assert mask.shape == (64, 80)
    assert all(mask[row, col] == 255 for row, col in TARGETS)
    with open(files['two_targets.csv'], newline='') as file:
        table = list(csv.DictReader(file))
    assert list(table[0]) == list(COLUMNS)
    assert len(table) == len(rows(page))
    assert zipfile.ZipFile(files['all.zip']).testzip() is None
    assert page.hosts == {address.split('/')[2]}


def test_a_folder_with_a_video(browser_page, tmp_path):
    page = browser_page
    (tmp_path / 'flight').mkdir()
    (tmp_path / 'flight/notes.txt').touch()
    with video_writer(tmp_path / 'flight/clip.mp4', 5) as write:
        for seed in range(3):
            write(np.repeat(scene(seed)[..., None], 3, 2))
    page.set_input_files('input[type=file][webkitdirectory]', str(tmp_path / 'flight'))
    summary(page, 'in clip, frame 0, 0.00 s at threshold')
    page.fill('#frame input[type=number]', '2')
    page.keyboard.press('Enter')
    summary(page, 'in clip, frame 2, 0.40 s at threshold')
    assert page.input_value('#problems textarea').startswith('notes.txt: neither an image')
    page.click('#make')
    page.wait_for_selector('#downloads a[download]')
    names = {link.get_attribute('download') for link in page.query_selector_all('#downloads a[download]')}
    assert {'clip.mp4', 'clip_frames.csv', 'clip_targets.csv'} < names
    assert len(list((tmp_path / 'temporary').glob('mmirstd_app_*/window_*'))) == 1
    page.close()
    deadline = time.monotonic() + 60
    while list((tmp_path / 'temporary').glob('mmirstd_app_*/window_*')):
        assert time.monotonic() < deadline, 'the files of a closed window are still there'
        time.sleep(0.1)


def test_what_the_server_refuses(browser_page, address, tmp_path):
    httpx = pytest.importorskip('httpx')
    large = np.zeros((64, 81), np.uint8)
    cv2.imwrite(str(tmp_path / 'large.png'), large)
    browser_page.set_input_files('#files input[type=file]', [str(tmp_path / 'large.png')])
    browser_page.wait_for_selector('#problems textarea')
    assert browser_page.input_value('#problems textarea') == 'large.png: 81 x 64 is more than 5120 pixels'
    assert httpx.get(address, headers={'Host': 'evil.example'}).status_code == 400  # DNS rebinding
    answer = httpx.get(address)
    assert "default-src 'self'" in answer.headers['content-security-policy']
    for path in (__file__, '/etc/hostname', tmp_path / 'large.png', Path.cwd() / 'setup.py'):
        assert httpx.get(f'{address}gradio_api/file={path}').status_code in (403, 404)
    sent = httpx.post(f'{address}gradio_api/upload', files={'files': ('x.png', bytes(1_100_000))})
    assert sent.status_code == 413
    elsewhere = {'Origin': 'http://evil.example'}  # a form of another site's page
    sent = httpx.post(f'{address}gradio_api/upload', files={'files': ('x.png', b'x')}, headers=elsewhere)
    assert sent.status_code == 403
    assert list((tmp_path / 'temporary').rglob('x.png')) == []
    assert 'fonts.googleapis' not in answer.text


def test_a_port_that_is_taken(address, call, capsys):
    port = address.rstrip('/').rpartition(':')[2]
    assert call('app', '--no-browser', '--port', port, '--device', 'cpu') == 2
    assert f'--port {port}: another program listens there' in capsys.readouterr().err


def test_ctrl_c_ends_the_page(call, monkeypatch):
    pytest.importorskip('gradio')

    def interrupt(event):
        raise KeyboardInterrupt

    monkeypatch.setattr(threading.Event, 'wait', interrupt)
    with pytest.raises(KeyboardInterrupt):
        page_module.serve(device='cpu', browser=False)
