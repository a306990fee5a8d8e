import importlib.util
from pathlib import Path

import cv2
import numpy as np
import pytest

from mmirstd.evaluation import PRESETS


@pytest.fixture(scope='module')
def benchmark():
    path = Path(__file__).parents[2] / 'tools/benchmarks/benchmark_metrics.py'
    spec = importlib.util.spec_from_file_location('benchmark_metrics', path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_benchmark_prints_ratios(benchmark, tmp_path, capsys):
    benchmark.main(['--images', '2', '--size', '32', '--rounds', '1'])
    lines = [line.strip('| ').split(' | ') for line in capsys.readouterr().out.splitlines() if line.startswith('| ')]
    times = {line[0]: line[1:] for line in lines[1:]}
    assert list(times) == ['image_counts', *PRESETS, 'rpcanet without AUC', 'all 9 together']
    assert {name: size for name, (size, *_) in times.items() if 'x' in size} == {
        **dict.fromkeys(('acm', 'irsam'), '512 x 512'),
        **dict.fromkeys(('dnanet', 'mshnet', 'simir', 'rpcanet', 'rpcanet without AUC'), '256 x 256'),
    }
    for name, (_, ours, stack, ratio, native, native_ratio) in times.items():
        ours, stack, native = float(ours) / 1e3, float(stack) / 1e3, float(native) / 1e3
        assert float(ratio) == pytest.approx(stack / ours, rel=0.1, abs=0.1), name
        assert float(native_ratio) == pytest.approx(native / ours, rel=0.1, abs=0.1), name

    for folder, kind in (('pred', 0), ('mask', 1)):
        (tmp_path / folder).mkdir()
        for i, image in enumerate(benchmark.generated_images(3, 32, seed=1)):
            cv2.imwrite(f'{tmp_path}/{folder}/{i}.png', (image[kind] * (255, 1)[kind]).astype(np.uint8))
    folders = [str(tmp_path / 'pred'), str(tmp_path / 'mask')]
    benchmark.main([*folders, '--rounds', '1', '--preset', 'exact', 'all', '--images', '2'])
    assert '2 predictions of pred, 1 rounds' in capsys.readouterr().out
    benchmark.main([*folders, '--rounds', '1', '--preset', 'basicirstd'])
    assert 'together' not in capsys.readouterr().out


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['pred'], 'give both PRED_DIR and MASK_DIR'),
        (['--preset', 'dna'], "there is no preset 'dna'"),
        (['--rounds', '0'], '--images and --rounds must be at least 1'),
    ],
)
def test_benchmark_refuses_bad_arguments(benchmark, arguments, message, capsys):
    with pytest.raises(SystemExit):
        benchmark.main(arguments)
    assert message in capsys.readouterr().err


def test_benchmark_needs_pairs_of_one_size(benchmark, tmp_path):
    for folder, size in (('pred', 8), ('mask', 9)):
        (tmp_path / folder).mkdir()
        cv2.imwrite(f'{tmp_path}/{folder}/1.png', np.full((size, size), 255, np.uint8))
    with pytest.raises(SystemExit, match='no prediction of the size of its mask'):
        benchmark.main([str(tmp_path / 'pred'), str(tmp_path / 'mask')])


def test_benchmark_needs_a_checkout(benchmark, monkeypatch, tmp_path):
    monkeypatch.setattr(benchmark, 'PLAIN', tmp_path / 'plain_evaluation.py')
    with pytest.raises(SystemExit, match='run this script from a checkout'):
        benchmark.main(['--images', '1', '--size', '32'])
