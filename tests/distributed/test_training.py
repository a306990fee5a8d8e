"""Training over two processes on a CPU, without SyncBN and float16 that need a GPU, and a test of its weights."""

from processes import launch, script, tool


def test_two_processes_train_and_evaluate(tiny_config, tmp_path):
    config = tiny_config(
        """
        optim_wrapper['type'] = 'AmpOptimWrapper'
        for part in ('backbone', 'decode_head'):
            model[part]['norm_cfg'] = dict(type='SyncBN')
        """
    )
    code, output, _ = script('dist_train', config, 2, '--work-dir', tmp_path / 'run', cwd=tmp_path)
    assert code == 0, output[-3000:]
    assert 'SyncBatchNorm needs a GPU' in output
    assert 'bfloat16 autocast' in output
    assert 'Iter(val) [3/3]' in output  # five images on two processes
    assert '5 images (0 without target)' in output
    assert 'last:' in output
    options = ('--launcher', 'pytorch', '--work-dir', tmp_path / 'test', '--show-dir', tmp_path / 'pictures')
    output, _ = launch(tool, 2, tmp_path / 'out', 'test', config, tmp_path / 'run/iter_6.pth', *options)
    assert '5 images (0 without target)' in output
    assert len(list((tmp_path / 'pictures').iterdir())) == 5
