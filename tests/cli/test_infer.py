"""``mmirstd infer``: masks, pictures and tables, nothing replaced, unreadable files passed over."""

import csv
import json
import os
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from mmirstd.apis import IRSTDInferencer, infer, init_model, predict
from mmirstd.evaluation.analysis.predictions import read_prediction
from mmirstd.utils.errors import ArgumentError


@pytest.fixture
def run(call, tiny_config, tiny_checkpoint):
    """Infer with the tiny model into ``out``."""
    return lambda *arguments: call(
        'infer',
        *arguments,
        '--model',
        tiny_config(),
        '--checkpoint',
        tiny_checkpoint,
        '--out',
        'out',
        '--device',
        'cpu',
    )


def test_writes_masks_pictures_and_tables(run, tiny_config, tiny_checkpoint, tiny_data, capsys):
    assert run('tiny/images', '--probabilities', 'npz', '--batch-size', 2) == 0
    model = init_model(tiny_config(), tiny_checkpoint, 'cpu')
    expected = predict(model, tiny_data / 'images', batch_size=2)
    assert sum(map(len, expected)) > 5
    assert f'{sum(map(len, expected))} targets in 5 images: out' in capsys.readouterr().out
    for found in expected:
        mask = cv2.imread(f'out/masks/{found.name}.png', cv2.IMREAD_UNCHANGED)
        np.testing.assert_array_equal(mask, found.mask * np.uint8(255))
        np.testing.assert_array_equal(read_prediction(Path(f'out/probabilities/{found.name}.npz')), found.probability)
        assert cv2.imread(f'out/pictures/{found.name}.png').shape[1] == 2 * 512 + 3 * 12
    report = json.loads(Path('out/targets.json').read_text())
    assert report['images'] == [json.loads(found.to_json()) for found in expected]
    assert report['checkpoint'] == str(tiny_checkpoint)
    assert report['failures'] == {}
    rows = list(csv.DictReader(Path('out/targets.csv').read_text().splitlines()))
    assert [row['image'] for row in rows] == [found.name for found in expected for _ in range(len(found))]
    assert [float(row['peak']) for row in rows] == [peak for found in expected for peak in found.peaks.tolist()]


def test_tta_changes_the_probabilities(run):
    run('tiny/images/0.png', '--no-pictures', '--probabilities', 'npz')
    plain = read_prediction(Path('out/probabilities/0.npz'))
    assert run('tiny/images/0.png', '--no-pictures', '--probabilities', 'npz', '--tta', '--overwrite') == 0
    assert np.abs(read_prediction(Path('out/probabilities/0.npz')) - plain).max() > 0.05


def test_replaces_nothing_unasked(run):
    assert run('tiny/images/0.png', '--no-pictures') == 0
    assert not Path('out/pictures').exists()
    written = Path('out/masks/0.png').stat().st_mtime_ns
    message = run('tiny/images')
    assert 'out/targets.csv' in message
    assert 'allow replacing with --overwrite' in message
    assert not Path('out/masks/1.png').exists()
    assert Path('out/masks/0.png').stat().st_mtime_ns == written
    assert run('tiny/images', '--overwrite', '--no-pictures') == 0
    assert Path('out/masks/1.png').exists()


def test_unreadable_files_are_reported_and_passed_over(run, capsys):
    Path('tiny/images/2.png').write_bytes(b'no image')
    Path('tiny/images/4.png').write_bytes(Path('tiny/images/4.png').read_bytes()[:100])
    assert run('tiny/images', '--no-pictures') == 1
    captured = capsys.readouterr()
    assert ' targets in 3 images: out' in captured.out
    lines = [line for line in captured.err.splitlines() if line.startswith('no prediction: ')]
    assert ['2.png' in lines[0], '4.png' in lines[1]] == [True, True]
    assert sorted(p.name for p in Path('out/masks').iterdir()) == ['0.png', '1.png', '3.png']
    assert len(json.loads(Path('out/targets.json').read_text())['failures']) == 2
    message = run('tiny/images/2.png', 'tiny/images/4.png', '--overwrite')
    assert message.startswith('error: there is no prediction for any of 2 images: ')
    assert '2.png' in message


def test_a_name_that_is_no_utf8(run):
    for name, content in (
        (b'tiny/images/x\xff.png', Path('tiny/images/0.png').read_bytes()),
        (b'tiny/images/y\xff.png', b''),
    ):
        Path(os.fsdecode(name)).write_bytes(content)
    assert run('tiny/images', '--no-pictures') == 1
    assert Path('out/masks/x_.png').is_file()
    (name,) = json.loads(Path('out/targets.json').read_text(encoding='utf-8'))['failures']
    assert os.fsencode(name) == b'tiny/images/y\xff.png'


def test_an_image_that_comes_while_the_model_is_built(tiny_config, tiny_checkpoint, tiny_data, tmp_path, monkeypatch):
    build = IRSTDInferencer.__init__

    def slow(*args):
        build(*args)
        cv2.imwrite(str(tiny_data / 'images/late.png'), np.zeros((32, 32), np.uint8))

    monkeypatch.setattr(IRSTDInferencer, '__init__', slow)
    summary = infer(tiny_data / 'images', tmp_path / 'out', tiny_config(), tiny_checkpoint, device='cpu')
    assert (summary.images, summary.failures) == (5, {})


def test_an_unknown_kind_of_probabilities(tiny_config, tiny_checkpoint, tiny_data, tmp_path):
    with pytest.raises(ArgumentError, match="'png' or 'npz', not 'jpg'"):
        infer(tiny_data / 'images', tmp_path / 'out', tiny_config(), tiny_checkpoint, probabilities='jpg')


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['nowhere.png'], 'error: there is no image nowhere.png'),
        (['tiny/images', '--model', 'simir_repvit-fast_nud'], 'did you mean simir_repvit-fast_nudt'),
        (['tiny/images', '--out', 'tiny/images/0.png'], 'images/0.png is no folder to write to'),
        (['tiny/images', '--checkpoint', 'none.pth'], 'error: there is no checkpoint file none.pth'),
    ],
)
def test_mistakes_are_one_line(call, tiny_config, tiny_checkpoint, arguments, message):
    given = ['--model', tiny_config(), '--checkpoint', tiny_checkpoint, '--out', 'out']
    line = call('infer', *given, *arguments)
    assert message in line
    assert '\n' not in line
    assert not Path('out').exists()


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['--threshold', '1.5'], '--threshold lies in [0, 1), --connectivity is 4 or 8; got 1.5'),
        (['--batch-size', '0'], '--min-area and --batch-size are at least 1; got 1 and 0'),
    ],
)
def test_options_out_of_range_are_mistakes_of_the_command_line(
    call, capsys, tiny_config, tiny_checkpoint, arguments, message
):
    given = ['--model', tiny_config(), '--checkpoint', tiny_checkpoint, '--out', 'out', 'tiny/images']
    assert call('infer', *given, *arguments) == 2
    assert capsys.readouterr().err.splitlines()[-1].startswith(f'mmirstd infer: error: {message}')
    assert not Path('out').exists()


def test_arrays_from_a_notebook(tiny_config, tiny_checkpoint, tiny_data, tmp_path):
    image = cv2.imread(str(tiny_data / 'images/0.png'))
    summary = infer([image, image], tmp_path / 'out', tiny_config(), tiny_checkpoint, device='cpu', pictures=False)
    assert (summary.images, summary.failures) == (2, {})
    assert sorted(p.name for p in (tmp_path / 'out/masks').iterdir()) == ['000000_image.png', '000001_image.png']


def test_an_image_on_which_the_network_fails_is_reported_and_passed_over(run, capsys, monkeypatch):
    from mmseg.models import EncoderDecoder

    finish = EncoderDecoder.postprocess_result

    def postprocess_result(self, seg_logits, data_samples=None):
        samples = finish(self, seg_logits, data_samples)
        for sample in samples:
            if sample.img_path.endswith('2.png'):
                sample.seg_logits.data[0, 3, 4] = float('nan')
            if sample.img_path.endswith('3.png'):
                raise RuntimeError('out of memory')
        return samples

    monkeypatch.setattr(EncoderDecoder, 'postprocess_result', postprocess_result)
    assert run('tiny/images', '--no-pictures', '--batch-size', 5) == 1
    captured = capsys.readouterr()
    lines = [line for line in captured.err.splitlines() if line.startswith('no prediction: ')]
    assert '2.png: 1 of 1024 values that the model predicts are NaN or infinite; all weights' in lines[0]
    assert '3.png: out of memory' in lines[1]
    assert sorted(p.name for p in Path('out/masks').iterdir()) == ['0.png', '1.png', '4.png']


def test_a_model_of_nan_is_an_error_that_names_the_weights(run, tiny_checkpoint):
    content = torch.load(tiny_checkpoint, weights_only=True)
    content['state_dict']['decode_head.conv_seg.bias'][0] = float('nan')
    torch.save(content, tiny_checkpoint)
    message = run('tiny/images', '--no-pictures')
    assert 'no prediction for any of 5 images: ' in message
    assert '0.png: 1024 of 1024 values that the model predicts are NaN' in message
    assert 'in the model: decode_head.conv_seg.bias' in message
