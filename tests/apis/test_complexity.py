import json
import subprocess
import sys

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from mmirstd.apis.complexity import count_macs, model_complexity
from mmirstd.utils.errors import ArgumentError

REPVIT = """
_base_ = ['mmseg::_base_/models/fpn_r50.py']
model = dict(
    data_preprocessor=dict(size=None, test_cfg=dict(size_divisor=32)),
    backbone=dict(
        _delete_=True, type='mmirstd.RepViT', arch=dict(embed_dims=(8, 16, 24, 32), depths=(1, 2, 3, 2)),
        init_cfg=dict(type='Pretrained', checkpoint='does/not/exist.pth'),
    ),
    neck=dict(in_channels=[8, 16, 24, 32], out_channels=8, num_outs=4),
    decode_head=dict(in_channels=[8, 8, 8, 8], channels=8, num_classes=2, norm_cfg=dict(type='BN')),
    auxiliary_head=dict(
        type='FCNHead', in_channels=24, in_index=2, channels=8, num_convs=1, concat_input=False, num_classes=2,
        norm_cfg=dict(type='SyncBN'),
    ),
)
"""
GRAY = """
_base_ = ['mmseg::_base_/models/fcn_unet_s5-d16.py']
model = dict(
    pretrained='does/not/exist.pth',
    data_preprocessor=dict(mean=[101.06], std=[34.62], bgr_to_rgb=False),
    backbone=dict(in_channels=1, base_channels=4, num_stages=2, strides=(1, 1), enc_num_convs=(1, 1),
                  dec_num_convs=(1,), downsamples=(True,), enc_dilations=(1, 1), dec_dilations=(1,)),
    decode_head=dict(in_channels=4, in_index=1, channels=4, num_classes=2),
    auxiliary_head=None,
    test_cfg=dict(mode='whole'),
)
"""


@pytest.fixture
def write(tmp_path):
    def write(text):
        path = tmp_path / 'config.py'
        path.write_text(text)
        return str(path)

    return write


def conv(in_channels, out_channels, kernel, size, groups=1):
    """Multiply-adds of a convolution with an output of size x size."""
    return size * size * out_channels * (in_channels // groups) * kernel**2


def test_unet_against_closed_form(call, write, capsys):
    call('flops', write(GRAY), '--shape', '64', '--json', '--depth', '3')
    result = json.loads(capsys.readouterr().out)
    parts = {part['name']: part for part in result['parts']}
    # encoder 1 -> 4 -> 8, then upsampling with a 1x1 convolution, and a 3x3 convolution after concatenation
    encoder = [conv(1, 4, 3, 64), conv(4, 8, 3, 32)]
    decoder = conv(8, 4, 1, 64) + conv(8, 4, 3, 64)
    head = conv(4, 4, 3, 64) + conv(4, 2, 1, 64)
    assert parts['backbone']['macs'] == sum(encoder) + decoder
    assert parts['backbone.decoder.0']['macs'] == decoder
    assert parts['decode_head']['macs'] == head
    assert result['macs'] == sum(encoder) + decoder + head
    assert result['shape'] == [64, 64]
    assert parts['decode_head']['params'] == 4 * 4 * 9 + 2 * 4 + 4 * 2 + 2
    assert result['params'] == sum(parts[p]['params'] for p in ('backbone', 'decode_head'))


def test_table_of_a_segmentor(call, write, capsys):
    config = write(REPVIT)
    call('flops', config, '--shape', '60', '70')
    text = capsys.readouterr().out
    assert '64 x 96 (padded from 60 x 70), as trained' in text
    lines = {line.split()[0]: line.split() for line in text.splitlines()[4:] if line.strip()}
    assert {'total', 'backbone', 'stem', 'stages.0', 'stages.3', 'neck', 'decode_head', 'auxiliary_head:'} <= set(lines)
    assert lines['total'][1] == 'EncoderDecoder'
    assert 'mmirstd' not in text.split('\n', 1)[1]
    shares = [float(lines[name][-1].rstrip('%')) for name in ('backbone', 'neck', 'decode_head')]
    assert sum(shares) == pytest.approx(100, abs=0.2)
    assert 'not counted' in text

    results = {}
    for flag in ([], ['--deploy']):
        call('flops', config, '--shape', '64', '--json', *flag)
        results[bool(flag)] = json.loads(capsys.readouterr().out)
    assert results[True]['params'] < results[False]['params']
    assert results[True]['macs'] < results[False]['macs']
    # In the deployed form one depthwise convolution is left of the three branches.
    stage = {deploy: next(p for p in r['parts'] if p['name'] == 'backbone.stages.0') for deploy, r in results.items()}
    assert stage[False]['macs'] - stage[True]['macs'] == conv(8, 8, 1, 16, groups=8)

    call('flops', config, '--shape', '64', '--depth', '0', '--cfg-options', 'model.neck.out_channels=16',
                  'model.decode_head.in_channels=[16,16,16,16]', '--json')  # fmt: skip
    wider = json.loads(capsys.readouterr().out)
    assert wider['parts'] == []
    assert wider['macs'] > results[False]['macs']


class Attention(nn.Module):
    def forward(self, x):
        return F.scaled_dot_product_attention(x, x, x)


class Model(nn.Module):
    """Enters its head as mmseg does, by another method than forward, and has a product of its own."""

    def __init__(self):
        super().__init__()
        self.attention = Attention()
        self.mha = nn.MultiheadAttention(16, 2, batch_first=True)
        self.layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)
        self.head = Head()
        self.query = nn.Parameter(torch.zeros(1, 1, 16))
        self.act = nn.GELU()
        self.eval()

    def run(self, x):
        x = self.attention(x) + self.act(self.query)
        x = self.mha(x, x, x, need_weights=False)[0]
        return self.head.predict(self.layer(x)) @ x.transpose(1, 2)


class Head(nn.Module):
    def __init__(self):
        super().__init__()
        self.proj = nn.Linear(16, 16)

    def forward(self, x):
        return torch.einsum('bnc,cd->bnd', self.proj(x), torch.ones(16, 16))

    def predict(self, x):
        return self.forward(x)


def test_attention_is_counted():
    n, c = 24, 16
    model = Model()
    x = torch.randn(1, n, c)
    forward = model.head.forward
    expected_output = model.run(x)
    fastpath = torch.backends.mha.get_fastpath_enabled()
    macs = count_macs(model, lambda: model.run(x))

    def total(name):
        return sum(count for key, count in macs.items() if key == name or key.startswith(f'{name}.'))

    products = 2 * n * n * c
    assert total('attention') == products
    assert total('mha') == 4 * n * c * c + products
    assert total('layer') == 4 * n * c * c + products + 2 * n * c * 32
    assert macs['head.proj'] == n * c * c
    assert macs['head'] == n * c * c
    assert macs[''] == n * n * c
    # Nothing is left behind.
    assert all(p.requires_grad for p in model.parameters())
    assert torch.backends.mha.get_fastpath_enabled() == fastpath
    assert model.head.forward == forward
    assert 'forward' not in vars(model.head)
    torch.testing.assert_close(model.run(x), expected_output)


@pytest.mark.parametrize(
    ('options', 'message'),
    [(['--shape', '1', '2', '3'], '--shape'), (['--shape', '0'], '--shape'), (['--depth', '-1'], '--depth')],
)
def test_bad_options(call, write, options, message, capsys):
    assert call('flops', write(GRAY), *options) == 2
    assert message in capsys.readouterr().err
    with pytest.raises(ArgumentError, match='--depth must not be negative'):
        model_complexity(write(GRAY), 32, depth=-1)


def test_from_python_and_with_mistakes(call, write):
    found = model_complexity(write(GRAY), (32, 48), cfg_options={'model.decode_head.channels': 8})
    assert (found.shape, found.input_size) == ((32, 48), (32, 48))
    assert '32 x 48, as trained' in str(found)
    assert found.total.macs > model_complexity(write(GRAY), (32, 48)).total.macs
    assert 'there is no config file none.py' in call('flops', 'none.py')
    assert 'unknown RepViT arch' in call('flops', write(REPVIT), '--cfg-options', 'model.backbone.arch=m9')
    assert 'configs have no modle; did you mean model?' in call('flops', write(GRAY), '--cfg-options', 'modle.x=1')
    assert call('flops', write(GRAY), '--cfg-options', 'model') == 'error: --cfg-options model: expected KEY=VALUE'


def test_json_is_all_there_is_on_stdout(write):
    """In a process of its own, where packages are imported and may print."""
    command = [sys.executable, '-m', 'mmirstd', 'flops', write(GRAY), '--shape', '64', '--json']
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)['shape'] == [64, 64]
