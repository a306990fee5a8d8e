"""The SGEM U-Net: its equations, its shapes, its size, its loss and its deployed form."""

import copy
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from mmirstd.models.backbones import UNetEncoder
from mmirstd.models.layers.reparam import ConvBN, switch_to_deploy
from mmirstd.models.losses import BinaryCrossEntropyLoss, SoftIoULoss
from mmirstd.models.necks import SGEM, DenseNestedDecoder, SemanticGapElimination

CONFIGS = Path(__file__).parents[2] / 'configs/sgem'
WIDTHS = (4, 6, 8, 10, 12)
DECODERS = {
    'sgem': lambda: SGEM(WIDTHS, sgem=dict(channels=4, num_tokens=4)),
    'grid': lambda: SGEM(WIDTHS, sgem=dict(channels=4, num_tokens=4, linearization='grid')),
    'all levels': lambda: SGEM(WIDTHS, sgem_levels=range(4), sgem=dict(channels=4, num_tokens=4)),
    'kept skip': lambda: SGEM(WIDTHS, keep_skip=True, sgem=dict(channels=4, num_tokens=4)),
    'additive': lambda: SGEM(WIDTHS, sgem=dict(channels=4, num_tokens=4, reading='additive')),
    'norm': lambda: SGEM(WIDTHS, sgem=dict(channels=4, num_tokens=4, norm=True)),
    'additive grid': lambda: SGEM(
        WIDTHS, sgem=dict(channels=4, num_tokens=4, reading='additive', linearization='grid')
    ),
    'plain': lambda: SGEM(WIDTHS, sgem_levels=()),
    'bare': lambda: SGEM(WIDTHS, sgem_levels=(), bare_levels=(2,)),
    'narrow': lambda: SGEM(WIDTHS, narrow=True, sgem=dict(channels=4, num_tokens=4)),
    'nested': lambda: DenseNestedDecoder(WIDTHS),
}


class Network(nn.Module):
    """Encoder, decoder and classifier as one function of the image."""

    def __init__(self, decoder='sgem', in_channels=3):
        super().__init__()
        self.encoder, self.decoder = UNetEncoder(in_channels, WIDTHS), DECODERS[decoder]()
        init_default_scope('mmseg')
        self.head = MODELS.build(
            dict(type='mmirstd.ConvHead', in_channels=4, in_index=0, loss_decode=dict(type='mmirstd.SoftIoULoss'))
        )

    def forward(self, image):
        return self.head(self.decoder(self.encoder(image)))


def trained(model, seed=0):
    """Random weights and running statistics, in eval mode."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                for x, low in ((module.weight, 0.5), (module.running_var, 0.5), (module.bias, -0.5)):
                    x.copy_(torch.rand(x.shape, generator=generator) + low)
                module.running_mean.copy_(torch.randn(module.running_mean.shape, generator=generator))
    return model.eval()


@pytest.mark.parametrize('softmax', ['channel', 'space'])
@pytest.mark.parametrize('linearization', ['tokens', 'grid'])
@pytest.mark.parametrize('out_channels', [7, 5])
@pytest.mark.parametrize(('reading', 'norm'), [('additive', False), ('value', False), ('value', True)])
def test_sgem_equals_the_equations(linearization, softmax, out_channels, reading, norm):
    torch.manual_seed(0)
    shallow = torch.randn(2, 6, 12, 8, dtype=torch.float64)
    deep = torch.randn(2, 7, 6, 4, dtype=torch.float64)
    sgem = SemanticGapElimination(6, 7, out_channels, 3, 4, linearization, softmax, reading, norm).double()
    trained(sgem)

    def conv1x1(conv, x):
        if isinstance(conv, ConvBN):
            bn, weight = conv.bn, conv.conv.weight[:, :, 0, 0]
            scale = bn.weight / (bn.running_var + bn.eps).sqrt()
            shift = bn.bias - scale * bn.running_mean
            return torch.einsum('o,oc,bchw->bohw', scale, weight, x) + shift[:, None, None]
        return torch.einsum('oc,bchw->bohw', conv.weight[:, :, 0, 0], x) + conv.bias[:, None, None]

    def normalize(x, dims):
        e = x.exp()
        return e / e.sum(dims, keepdim=True)

    # (1): every pixel of E is a vector.
    q = conv1x1(sgem.query, shallow).reshape(2, 3, 96)
    # (2): the pixels of D become four vectors.
    key_map = conv1x1(sgem.key, deep)

    def tokens(x):
        if linearization == 'tokens':
            return torch.einsum('bdhw,brhw->bdr', x, normalize(conv1x1(sgem.pool, key_map), (2, 3)))
        return torch.einsum('bdihjw->bdij', x.reshape(2, -1, 2, 3, 2, 2)).reshape(2, -1, 4) / 6

    k = tokens(key_map)
    # (3)
    product = torch.einsum('bdn,bdr->brn', q, k).reshape(2, 4, 12, 8) / 3**0.5
    matrix = normalize(conv1x1(sgem.restore, product), 1 if softmax == 'channel' else (2, 3))
    torch.testing.assert_close(sgem.distribution(shallow, k), matrix)
    assert (matrix >= 0).all()
    sums = matrix.sum(1 if softmax == 'channel' else (2, 3))
    torch.testing.assert_close(sums, torch.ones_like(sums))
    # The residual: D at E's size, projected where its width differs.
    residual = deep
    if out_channels != 7:
        residual = conv1x1(sgem.residual, deep)
    residual = nn.Upsample(scale_factor=2, mode='bilinear')(residual)
    added = matrix
    if reading == 'value':
        added = torch.einsum('bcr,brhw->bchw', tokens(conv1x1(sgem.value, deep)), matrix)
    torch.testing.assert_close(sgem(shallow, deep), added + residual)


@pytest.mark.parametrize('norm', [True, False])
def test_batch_norm_keeps_the_softmax_open(norm):
    """Weights that have grown choose one token at each pixel and get no gradient, unless the logits are normalized."""
    torch.manual_seed(0)
    sgem = SemanticGapElimination(6, 7, 5, 3, 4, norm=norm)
    with torch.no_grad():
        for conv in (sgem.query, sgem.key):
            conv.weight *= 1e4
    shallow, deep = torch.rand(2, 6, 12, 8), torch.rand(2, 7, 6, 4)
    sgem(shallow, deep).square().sum().backward()
    effect = (sgem.query.weight.grad * sgem.query.weight).abs().max()  # of a relative change of a weight
    assert (effect > 1e-3) == norm


def test_a_bare_level_sees_no_encoder_map():
    torch.manual_seed(0)
    decoder = trained(SGEM(WIDTHS, sgem_levels=(), bare_levels=(2,)))
    maps = tuple(torch.randn(1, c, 32 >> i, 32 >> i) for i, c in enumerate(WIDTHS))
    changed = (*maps[:2], torch.randn_like(maps[2]), *maps[3:])
    for a, b in zip(decoder(maps), decoder(changed), strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize('linearization', ['tokens', 'grid'])
@pytest.mark.parametrize('reading', ['additive', 'value'])
def test_sgem_is_linear_in_the_number_of_pixels(linearization, reading):
    sgem = SemanticGapElimination(6, 7, 5, 3, 4, linearization, reading=reading).eval()

    def flops_and_largest(size):
        largest = 0

        def watch(module, args, output):
            nonlocal largest
            largest = max(largest, output.numel())

        handles = [m.register_forward_hook(watch) for m in sgem.modules()]
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            sgem(torch.randn(1, 6, 2 * size, 2 * size), torch.randn(1, 7, size, size))
        for handle in handles:
            handle.remove()
        return counter.get_total_flops(), largest

    small, large = flops_and_largest(8), flops_and_largest(32)
    assert large[0] == 16 * small[0]
    assert large[1] == 16 * small[1]


@pytest.mark.parametrize('decoder', DECODERS)
@pytest.mark.parametrize('size', [(32, 32), (33, 47), (17, 80), (3, 5), (1, 1)])
def test_any_size_gives_every_level(decoder, size):
    network = Network(decoder, in_channels=1).eval()
    image = torch.randn(2, 1, *size)
    with torch.no_grad():
        features = network.encoder(image)
        maps = network.decoder(features)
        assert network(image).shape == (2, 1, *size)
    h, w = size
    for i, (feature, x) in enumerate(zip(features, maps, strict=True)):
        assert x.shape == feature.shape == (2, WIDTHS[i], -(-h // 2**i), -(-w // 2**i))
    assert maps[-1] is features[-1]


@pytest.mark.parametrize('decoder', DECODERS)
def test_images_of_a_batch_do_not_mix_and_everything_is_trained(decoder):
    torch.manual_seed(0)
    network = trained(Network(decoder))
    image = torch.randn(3, 3, 32, 32)
    with torch.no_grad():
        single = torch.cat([network(x[None]) for x in image])
        torch.testing.assert_close(network(image), single)
    network.train()
    network(image).square().sum().backward()
    silent = [n for n, p in network.named_parameters() if p.grad is None or not p.grad.isfinite().all()]
    assert not silent


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
def test_autocast(dtype):
    torch.manual_seed(0)
    network = trained(Network())
    image = torch.randn(2, 3, 33, 47)
    with torch.no_grad():
        exact = network(image)
        with torch.autocast('cpu', dtype):
            half = network(image)
    assert half.dtype == dtype
    assert (half.float() - exact).abs().max() < 0.1 * exact.abs().max()


def test_a_level_without_sgem_is_the_plain_skip():
    """The ablations change what they say, and nothing else: widths and the other levels stay."""
    names = {name: {n.split('.')[1] for n, _ in DECODERS[name]().convs.named_parameters(prefix='convs')}
             for name in ('sgem', 'all levels', 'kept skip', 'plain')}  # fmt: skip
    assert names == {'sgem': set('013'), 'all levels': set(), 'kept skip': set('0123'), 'plain': set('0123')}


def test_a_narrow_level_is_conv_of_skip_and_projected_map():
    torch.manual_seed(0)
    neck = trained(SGEM((3, 5, 7), sgem_levels=(), narrow=True))
    x0, x1, x2 = (torch.randn(2, c, s, s) for c, s in ((3, 8), (5, 4), (7, 2)))
    up = nn.Upsample(scale_factor=2, mode='bilinear')
    with torch.no_grad():
        d1 = neck.convs['1'](torch.cat((x1, up(neck.narrow['1'](x2))), 1))
        d0 = neck.convs['0'](torch.cat((x0, up(neck.narrow['0'](d1))), 1))
        for got, expected in zip(neck((x0, x1, x2)), (d0, d1, x2), strict=True):
            torch.testing.assert_close(got, expected)
    # Nothing is narrowed that is narrow already, or that SGEM brings to its width.
    assert not SGEM((5, 5), sgem_levels=(), narrow=True).narrow
    assert not SGEM((3, 5), sgem_levels=(0,), narrow=True).narrow


def test_nested_decoder_equals_its_definition():
    torch.manual_seed(0)
    decoder = trained(DenseNestedDecoder((3, 4, 5), out_channels=(2, 6)))
    x00, x10, x20 = (torch.randn(1, c, s, s) for c, s in ((3, 8), (4, 4), (5, 2)))
    up = nn.Upsample(scale_factor=2, mode='bilinear')
    (c01, c02), (c11,) = decoder.nodes
    with torch.no_grad():
        x01, x11 = c01(torch.cat((x00, up(x10)), 1)), c11(torch.cat((x10, up(x20)), 1))
        x02 = c02(torch.cat((x00, x01, up(x11)), 1))
        for got, expected in zip(decoder((x00, x10, x20)), (x02, x11, x20), strict=True):
            torch.testing.assert_close(got, expected)


@pytest.mark.parametrize(
    ('build', 'message'),
    [
        (lambda: UNetEncoder(channels=()), 'channels'),
        (lambda: UNetEncoder(num_convs=0), 'num_convs=0'),
        (lambda: SemanticGapElimination(4, 4, 4, linearization='pixels'), "linearization='pixels'"),
        (lambda: SemanticGapElimination(4, 4, 4, softmax='tokens'), "softmax='tokens'"),
        (lambda: SemanticGapElimination(4, 4, 4, num_tokens=8, linearization='grid'), 'num_tokens=8'),
        (lambda: SemanticGapElimination(4, 4, 4, num_tokens=0), 'num_tokens=0'),
        (lambda: SemanticGapElimination(4, 4, 4, reading='both'), "reading='both'"),
        (lambda: SGEM((4, 8), sgem_levels=(1,)), 'not levels 0 to 0'),
        (lambda: SGEM((4, 8), sgem_levels=(0,), bare_levels=(0,)), 'without SGEM'),
        (lambda: SGEM((4,)), '1 in_channels'),
        (lambda: DenseNestedDecoder((4, 8), out_channels=(4, 8)), '2 out_channels for 2'),
        (lambda: DenseNestedDecoder((4, 8))((torch.zeros(1, 4, 4, 4),)), r'\[4, 8\] channels, got \[4\]'),
        (lambda: SGEM((4, 8), sgem_levels=())((torch.zeros(1, 8, 4, 4),) * 2), r'got \[8, 8\]'),
    ],
)
def test_bad_arguments_are_named(build, message):
    with pytest.raises(ValueError, match=message):
        build()


@pytest.mark.parametrize('decoder', DECODERS)
def test_deployed_form_gives_equal_outputs(decoder):
    torch.manual_seed(0)
    network = trained(Network(decoder).double())
    folded = copy.deepcopy(network)
    assert switch_to_deploy(folded) == sum(isinstance(m, nn.BatchNorm2d) for m in network.modules())
    assert not any(isinstance(m, nn.BatchNorm2d) for m in folded.modules())
    image = torch.randn(2, 3, 33, 47, dtype=torch.float64)
    with torch.no_grad():
        torch.testing.assert_close(folded(image), network(image))
    assert switch_to_deploy(folded) == 0


@pytest.mark.parametrize('decoder', DECODERS)
def test_channels_last_gives_equal_outputs(decoder):
    torch.manual_seed(0)
    network = trained(Network(decoder))
    image = torch.randn(2, 3, 33, 47)
    with torch.no_grad():
        expected = network(image)
        network = network.to(memory_format=torch.channels_last)
        torch.testing.assert_close(network(image.contiguous(memory_format=torch.channels_last)), expected)


@pytest.mark.parametrize('layout', [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize('reading', ['additive', 'value'])
def test_sgem_keeps_the_layout(layout, reading):
    """A change of layout costs more than the module: all convolutions behind it would run on the slower one."""
    sgem = SemanticGapElimination(6, 8, 8, 4, 4, reading=reading).eval().to(memory_format=layout)
    maps = (torch.randn(2, c, s, s).contiguous(memory_format=layout) for c, s in ((6, 16), (8, 8)))
    with torch.no_grad():
        assert sgem(*maps).is_contiguous(memory_format=layout)


@pytest.mark.parametrize(
    'decoder', ['sgem', *(pytest.param(name, marks=pytest.mark.exhaustive) for name in ('additive', 'grid', 'nested'))]
)
def test_export_is_one_graph_with_equal_outputs(decoder):
    torch.manual_seed(0)
    network = trained(Network(decoder))
    switch_to_deploy(network)
    image = torch.randn(2, 3, 32, 48)
    with torch.no_grad():
        expected = network(image)
        exported = torch.export.export(network, (image,)).module()
        torch.testing.assert_close(exported(image), expected)
        compiled = torch.compile(network, backend='eager', fullgraph=True)
        torch.testing.assert_close(compiled(image), expected)


def load(name):
    cfg = Config.fromfile(CONFIGS / f'{name}.py')
    init_default_scope('mmseg')
    return MODELS.build(cfg.model).eval()


def size_of(model, size=256):
    """Parameters, and multiply-adds of a square image."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model._forward(torch.zeros(1, 3, size, size, device='meta'))
    return sum(p.numel() for p in model.parameters()), counter.get_total_flops() // 2


def test_parameters_and_multiply_adds_are_the_papers():
    parameters, multiply_adds = size_of(load('sgem_unet_nudt').to('meta'))
    assert parameters == pytest.approx(8.69e6, rel=0.05)
    assert multiply_adds == pytest.approx(15.92e9, rel=0.05)


def test_ablations_cost_what_they_should():
    plain, sgem, nested = (size_of(load(n).to('meta')) for n in ('unet_nudt', 'sgem_unet_nudt', 'unet-nested_nudt'))
    assert sgem < plain < nested
    assert sgem[1] < plain[1] < nested[1]
    kept = size_of(load('sgem_unet_keep-skip_nudt').to('meta'))
    assert kept > sgem


@pytest.mark.parametrize('per_image', [True, False])
def test_loss_is_equation_4(per_image):
    """With smooth=0 it is equation 4 plus the constant 1, for one category."""
    torch.manual_seed(0)
    logits, target = torch.randn(3, 1, 9, 7, dtype=torch.float64), (torch.rand(3, 9, 7) < 0.2).long()
    p, t = logits[:, 0].sigmoid(), target.double()
    sums = 'bhw->b' if per_image else 'bhw->'
    paper = -(torch.einsum(sums, t * p) / torch.einsum(sums, t + p - t * p)).mean()
    torch.testing.assert_close(SoftIoULoss(smooth=0, per_image=per_image)(logits, target), 1 + paper)
    log = SoftIoULoss(smooth=1, per_image=per_image, log=True)(logits, target)
    ratios = torch.einsum(sums, t * p) / torch.einsum(sums, t + p - t * p)
    torch.testing.assert_close(log, -ratios.log().mean())


@pytest.mark.parametrize('log', [True, False])
@pytest.mark.parametrize('per_image', [True, False])
@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize('magnitude', [0.0, 30.0, 1e4])
def test_loss_on_empty_masks_and_in_half_precision(dtype, per_image, log, magnitude):
    logits = torch.full((2, 1, 64, 64), -magnitude, dtype=dtype, requires_grad=True)
    empty = torch.zeros(2, 64, 64, dtype=torch.long)
    one = empty.clone()
    one[0, 3, 4] = 1
    loss = SoftIoULoss(per_image=per_image, log=log)
    for target in (empty, one):
        value = loss(logits, target)
        (gradient,) = torch.autograd.grad(value, logits)
        assert value.dtype == torch.float32
        assert value.isfinite()
        assert gradient.isfinite().all()
    # A black prediction of an empty mask is perfect.
    if magnitude:
        assert loss(logits, empty).item() == pytest.approx(0, abs=1e-6)


def train_from_black(loss, seed):
    """Train a small SGEM U-Net whose classifier begins all black; the IoU at the end."""
    torch.manual_seed(seed)
    widths = (16,) * 5
    network = nn.Sequential(UNetEncoder(1, widths), SGEM(widths, sgem=dict(channels=4, num_tokens=4)))
    classifier = nn.Conv2d(16, 1, 1)
    nn.init.constant_(classifier.bias, -30.0)
    target = torch.zeros(2, 32, 32, dtype=torch.long)
    target[0, 8:11, 20:23] = target[1, 21:24, 5:8] = 1
    image = target[:, None] * 3 + 0.3 * torch.randn(2, 1, 32, 32)
    optimizer = torch.optim.Adam([*network.parameters(), *classifier.parameters()], lr=0.02)
    for _ in range(60):
        optimizer.zero_grad()
        loss(classifier(network(image)[0]), target).backward()
        optimizer.step()
    found = classifier(network(image)[0])[:, 0] > 0
    return ((found & (target > 0)).sum() / (found | (target > 0)).sum()).item()


@pytest.mark.parametrize('per_image', [pytest.param(True, marks=pytest.mark.exhaustive), False])
@pytest.mark.parametrize('seed', [0, *(pytest.param(seed, marks=pytest.mark.exhaustive) for seed in (1, 2))])
def test_an_all_black_start_needs_a_remedy(per_image, seed):
    """Equation 4 stays black for ever: its gradient, p (1 - p) / U a pixel, is zero.

    Its logarithm finds targets, if not all of their pixels: those found first have nearly all of the gradient. Binary
    cross-entropy beside it, as in sgem_unet_bce_nudt.py, finds them whole.
    """
    linear, cross_entropy = SoftIoULoss(per_image=per_image), BinaryCrossEntropyLoss()
    assert train_from_black(linear, seed) == 0
    assert train_from_black(SoftIoULoss(per_image=per_image, log=True), seed) > 0
    assert train_from_black(lambda *args: linear(*args) + cross_entropy(*args), seed) > 0.95


def test_head_logs_the_target_probability_and_no_pixel_accuracy():
    model = load('sgem_unet-s_nudt').train()
    sample = SegDataSample(gt_sem_seg=PixelData(data=torch.zeros(1, 32, 32, dtype=torch.long)))
    sample.gt_sem_seg.data[0, 9:12, 9:12] = 1
    with torch.autocast('cpu', torch.bfloat16):
        losses = model.loss(torch.randn(2, 3, 32, 32), [sample, sample])
        probabilities = model.eval().predict(torch.randn(1, 3, 32, 32))[0].seg_logits.data
    assert set(losses) == {'decode.loss_bce', 'decode.loss_iou', 'decode.target_prob'}
    assert probabilities.dtype == torch.float32
