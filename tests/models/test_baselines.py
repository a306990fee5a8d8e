"""Published networks against their authors' code: the same logits from the same weights."""

import copy
import json
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from golden_state import drawn, image
from mmengine.config import Config
from mmengine.logging import MessageHub
from mmengine.registry import DefaultScope
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample

from mmirstd.checkpoints.convert import SOURCES as CONVERSIONS
from mmirstd.checkpoints.convert import convert_weights
from mmirstd.models.baselines import (
    ClampedHead,
    ContextAggregation,
    DenselyNestedPyramid,
    DilatedUNetDecoder,
    EdgeCompensationDecoder,
    InteractiveUBlockDecoder,
    InteriorAttentionHead,
    LinearFusionEncoder,
    ModulatedPyramid,
    MutualPyramid,
    OrientedPyramid,
    UnfoldedRPCA,
)
from mmirstd.models.baselines.egpnet import RegionHead, likely_regions
from mmirstd.models.baselines.iaanet import complete_iou, suppress_overlaps
from mmirstd.models.baselines.rdian import DirectionalContrast
from mmirstd.models.decode_heads import ConvHead, SideOutputHead
from mmirstd.models.layers.no_graph import NoGraphError
from mmirstd.models.layers.reparam import switch_to_deploy

ROOT = Path(__file__).resolve().parents[2]
GOLDEN = {
    name: golden
    for file in ('baselines', 'dnanet', 'isnet', 'abcnet-s', 'egpnet', 'iaanet', 'repisd')
    for name, golden in json.loads((Path(__file__).parent / f'golden/{file}.json').read_text()).items()
}
# Network -> source of its checkpoints, where they have another name.
SOURCES = {
    'abcnet-s': 'abcnet',
    'acm-fpn': 'acm',
    'acm-unet': 'acm',
    'alcnet': 'acm',
    'dnanet-r10': 'dnanet',
    'dnanet-r34': 'dnanet',
    'dnanet-vgg10': 'dnanet',
    'l-rpcanet': 'rpcanet',
    'mdvsfa-g1': 'mdvsfa',
    'mdvsfa-g2': 'mdvsfa',
}


@cache
def config(name):
    return Config.fromfile(ROOT / f'configs/baselines/{name}_nudt.py').model


def build(name):
    with DefaultScope.overwrite_default_scope('mmseg'):
        return MODELS.build(config(name)).eval()


@cache
def published_state(name):
    factors = GOLDEN[name].get('factors', {})
    return {key: factors.get(key, 1) * drawn(key, tuple(shape)) for key, shape in GOLDEN[name]['keys'].items()}


def logits(model, x):
    """Logits at the size of the image, before a head makes probabilities of them."""
    features = model.extract_feat(x)
    head = model.decode_head
    out = ConvHead.forward(head, features) if isinstance(head, ClampedHead) else head(features)
    return torch.nn.functional.interpolate(out, x.shape[2:], mode='bilinear', align_corners=False)


@pytest.mark.parametrize('name', GOLDEN)
def test_equals_the_published_code(name, all_tests):
    converted = convert_weights(SOURCES.get(name, name), published_state(name))
    model = build(name).double()
    model.load_state_dict(converted.state_dict, strict=True)
    for deploy in (False, True) if all_tests else (True,):
        if deploy:
            assert switch_to_deploy(model) > 5
        for case in GOLDEN[name]['cases']:
            x = image(case['seed'], *case['shape'])
            x = x.abs() if GOLDEN[name].get('absolute') else x
            with torch.no_grad():
                assert_golden(logits(model, x), case)
                if 'edge' in case:
                    edge = model.decode_head.forward_maps(model.extract_feat(x))[1]
                    assert_golden(edge.sigmoid(), case['edge'])


def assert_golden(x, expected):
    assert x.mean().item() == pytest.approx(expected['mean'], abs=1e-7 * expected['std'])
    assert x.std().item() == pytest.approx(expected['std'], rel=1e-7)
    values = x.flatten()[:: expected['every']].numpy()
    np.testing.assert_allclose(values, expected['values'], rtol=0, atol=1e-7 * expected['std'])


@pytest.mark.parametrize('name', GOLDEN)
def test_parameters_are_those_of_the_published_code(name):
    """All but those that its code never uses, and RDIAN's fixed filters."""
    statistics = ('running_mean', 'running_var', 'num_batches_tracked')

    def size(state):
        return sum(value.numel() for key, value in state.items() if not key.endswith(statistics))

    published = published_state(name)
    unused = size(published) - size(convert_weights(SOURCES.get(name, name), published).state_dict)
    ours = sum(p.numel() for p in build(name).parameters())
    assert ours + unused == GOLDEN[name]['parameters']


@pytest.mark.parametrize('source', sorted({SOURCES.get(name, name) for name in GOLDEN}))
def test_keys_without_a_place_are_named(source):
    with pytest.raises(ValueError, match='odd'):
        CONVERSIONS[source]({'odd.weight': torch.zeros(1)})


def test_directional_contrast_is_high_on_points_and_low_beside_edges():
    image = torch.zeros(1, 1, 15, 15)
    image[..., 7, 7] = 2
    image[..., :, 11:] = 2
    weights = DirectionalContrast()(image)[0, 0]
    assert weights[7, 7] == torch.sigmoid(torch.tensor(16.0))
    assert weights[7, 3] == 0.5
    # Both neighbors of an edge's pixel along the edge are equal to it.
    assert weights[3, 10] == weights[3, 11] == 0.5


def test_a_deployed_checkpoint_of_repisd_fits_a_deployed_network():
    """Its authors fold before they publish: the branches of the training are gone."""
    converted = convert_weights('repisd', published_state('repisd')).state_dict
    model = build('repisd').double()
    model.load_state_dict(converted)
    assert switch_to_deploy(model.backbone.levels) == switch_to_deploy(model.neck.levels) == 4
    cfg = copy.deepcopy(config('repisd'))
    cfg.backbone.deploy = cfg.neck.deploy = True
    with DefaultScope.overwrite_default_scope('mmseg'):
        deployed = MODELS.build(cfg).double().eval()
    deployed.load_state_dict(model.state_dict(), strict=True)
    x = image(3, 2, 3, 24, 20)
    torch.testing.assert_close(logits(deployed, x), logits(model, x), rtol=0, atol=0)
    assert switch_to_deploy(deployed.backbone.levels) == 0


def test_parts_refuse_what_does_not_fit():
    with pytest.raises(ValueError, match=r'in_channels=\[4\] must name two levels or more'):
        EdgeCompensationDecoder([4])
    maps = (torch.zeros(1, 4, 8, 8), torch.zeros(1, 8, 4, 4))
    necks = (ModulatedPyramid([4, 9]), DenselyNestedPyramid([4, 9], [1, 1]), EdgeCompensationDecoder([4, 9]))
    for neck in necks:
        with pytest.raises(ValueError, match=r'takes maps of \[4, 9\] channels, got \[4, 8\]'):
            neck(maps)
    with pytest.raises(ValueError, match='one number for each but the coarsest'):
        ModulatedPyramid([4, 8], num_blocks=[1, 1])
    with pytest.raises(ValueError, match=r'takes maps of \[3, 4, 8\] channels, got \[4, 8\]'):
        OrientedPyramid([3, 4, 8], [1])(maps)
    with pytest.raises(ValueError, match='one number for each level but the coarsest'):
        OrientedPyramid([3, 4, 8], [1, 1])
    with pytest.raises(ValueError, match=r'takes maps of \[4, 9\] channels, got \[4, 8\]'):
        DilatedUNetDecoder([4, 9])(maps)
    with pytest.raises(ValueError, match='image_size=30 a multiple of 4'):
        LinearFusionEncoder(3, [4, 8, 8, 8], image_size=30)
    with pytest.raises(ValueError, match='two or more'):
        DilatedUNetDecoder([4])
    with pytest.raises(ValueError, match='must be C, 2 C, 2 C'):
        MutualPyramid([4, 8, 8, 4, 8, 9])
    with pytest.raises(ValueError, match='as many'):
        DenselyNestedPyramid([4, 8], [1])
    with pytest.raises(ValueError, match='do not fit'):
        InteractiveUBlockDecoder([4, 8], [4, 4], [2], [4])
    with pytest.raises(ValueError, match='2 channels and 3 dilations'):
        ContextAggregation(channels=(4, 4), dilations=(1, 2, 1))
    with pytest.raises(ValueError, match='num_stages=0'):
        UnfoldedRPCA(num_stages=0)
    with pytest.raises(ValueError, match='num_convs=0'):
        ConvHead(8, channels=4)
    with pytest.raises(ValueError, match='neither'):
        SideOutputHead([4, 8], predict='coarsest')
    with pytest.raises(ValueError, match='go together'):
        SideOutputHead([4, 8], warmup_iters=5)


def test_necks_mix_with_other_encoders():
    """Any odd sizes, any numbers of levels."""
    maps = (torch.rand(2, 4, 21, 17), torch.rand(2, 6, 11, 9), torch.rand(2, 8, 5, 4))
    (fused,) = ModulatedPyramid([4, 6, 8], deconv=False)(maps)
    assert fused.shape == (2, 4, 21, 17)
    (doubled,) = ModulatedPyramid([4, 6, 8], last_channels=3)(maps)
    assert doubled.shape == (2, 3, 42, 34)
    gradient = torch.rand(2, 3, 84, 68)
    oriented = OrientedPyramid([3, 4, 6, 8], [1, 1])((gradient, *maps))
    assert oriented[0] is gradient
    assert [x.shape for x in oriented[1:]] == [x.shape for x in maps]
    assert [x.shape for x in DenselyNestedPyramid([4, 6, 8], [1, 1, 1])(maps)] == [(2, 4, 21, 17)] * 2
    levels = InteractiveUBlockDecoder([4, 8, 8], [4, 4, 8], [2, 2], [3, 0])(
        (torch.rand(2, 4, 21, 17), torch.rand(2, 8, 11, 9), torch.rand(2, 8, 6, 5))
    )
    assert [x.shape for x in levels[1:]] == [(2, 4, 11, 9), (2, 8, 6, 5)]


def test_regions_are_those_of_the_most_probable_components():
    probability = np.zeros((8, 10))
    assert likely_regions(probability, 2).tolist() == [[0, 0, 8, 10]] * 2
    probability[1, 1:3] = 0.9, 0.5  # the second is not above a half
    probability[4:6, 5:7] = 0.6, 0.8
    probability[7, 9] = 0.95
    best, second, third = [7, 9, 8, 10], [1, 1, 2, 2], [4, 5, 6, 7]
    assert likely_regions(probability).tolist() == [best, second, third]
    assert likely_regions(probability, 2).tolist() == [best, second]
    assert likely_regions(probability, 4).tolist() == [best, best, second, third]


def test_complete_iou_is_its_closed_form():
    box = torch.tensor([[4.0, 4.0, 4.0, 2.0], [1.0, 1.0, 2.0, 2.0], [3.0, 3.0, 2.0, 2.0]], dtype=torch.float64)
    target = torch.tensor([[5.0, 4.0, 2.0, 2.0], [5.0, 4.0, 2.0, 2.0], [3.0, 3.0, 2.0, 2.0]], dtype=torch.float64)
    # The first holds the target: IoU 4 / 8, centers 1 apart in a hull of 4 x 2. The second is apart from it.
    shape = 4 / np.pi**2 * (np.arctan(2) - np.arctan(1)) ** 2
    expected = [0.5 - 1 / 20 - shape**2 / (shape + 0.5), -25 / (6**2 + 5**2), 1]
    torch.testing.assert_close(
        complete_iou(box, target), torch.tensor(expected, dtype=torch.float64), atol=1e-6, rtol=0
    )


def test_boxes_that_overlap_a_better_one_are_left_out():
    boxes = np.array([[0, 0, 10, 10], [0, 0, 10, 8], [0, 0, 10, 5], [20, 0, 20, 9]], np.float64)
    assert suppress_overlaps(boxes, np.array([0.5, 0.9, 0.6, 0.1]), 0.6).tolist() == [1, 3]
    assert suppress_overlaps(boxes, np.array([0.5, 0.9, 0.6, 0.1]), 0.7).tolist() == [1, 2, 3]
    assert suppress_overlaps(boxes[:0], np.zeros(0), 0.5).tolist() == []


def interior_head(**kwargs):
    torch.manual_seed(0)
    bce = dict(type='mmirstd.BinaryCrossEntropyLoss', pos_weight=3.0)
    small = dict(pixel_channels=(8, 8), embed_dims=8, num_layers=1, num_heads=2, feedforward_channels=8)
    return InteriorAttentionHead([1, 4], loss_decode=bce, **small | kwargs)


def test_the_loss_of_boxes_is_zero_where_they_fit():
    """A target of one pixel has a box of 8 x 8 pixels around it."""
    head = interior_head()
    label = torch.zeros(1, 64, 64, dtype=torch.long)
    label[0, 24, 40] = 1
    raw = torch.full((1, 5, 4, 4), -30.0)
    side = torch.tensor(8 / 10).sqrt() / 2
    raw[0, :4, 1, 2] = torch.logit(torch.stack([torch.tensor(0.5), torch.tensor(0.5), side, side]))
    raw[0, 4, 1, 2] = 30.0
    losses = head.box_losses(raw, label)
    assert losses['loss_box'].item() == pytest.approx(0, abs=1e-5)
    assert losses['loss_object'].item() == pytest.approx(0, abs=1e-4)
    raw[0, 4, 1, 2] = 0.0
    assert head.box_losses(raw, label)['loss_object'].item() == pytest.approx(10 * np.log(2) / 16, rel=1e-4)
    empty = head.box_losses(raw.requires_grad_(), torch.zeros_like(label))
    assert empty['loss_box'] == 0
    sum(empty.values()).backward()


def test_the_mask_is_trained_inside_boxes_alone_and_after_the_boxes():
    head = interior_head(warmup_iters=3, dropout=0.0)
    maps = (torch.randn(2, 1, 48, 64), torch.randn(2, 4, 3, 4))
    label = torch.zeros(1, 48, 64, dtype=torch.long)
    label[0, 20, 30] = 1
    samples = [SegDataSample(gt_sem_seg=PixelData(data=label)) for _ in range(2)]
    hub = MessageHub.get_current_instance()
    try:
        hub.update_info('iter', 0)
        assert head.loss(maps, samples, {})['loss_bce'] == 0
        hub.update_info('iter', 3)
        torch.manual_seed(1)
        losses = head.loss(maps, samples, {})
    finally:
        hub.update_info('iter', 0)
    torch.manual_seed(1)
    logits, inside = head.segment(maps[0], head.boxes(head.detect(maps[1]), 48, 64))
    assert (logits[:, 0][~inside] == -20).all()
    assert 0 < inside.float().mean() < 0.9
    expected = sum(
        torch.nn.functional.binary_cross_entropy_with_logits(
            logits[i, 0][inside[i]], label[0][inside[i]].float(), pos_weight=torch.tensor(3.0)
        )
        for i in range(2)
    )
    torch.testing.assert_close(losses['loss_bce'], expected / 2)


def test_random_boxes_fill_up_what_was_found_and_stay_inside():
    head = interior_head()
    raw = torch.full((1, 5, 2, 2), -30.0)
    for seed in range(20):
        torch.manual_seed(seed)
        (boxes,) = head.train().boxes(raw, 20, 30)
        assert 1 <= len(boxes) <= 5
        assert all(0 <= a < c <= 30 and 0 <= b < d <= 20 for a, b, c, d in boxes)
    assert head.eval().boxes(raw, 20, 30) == [[]]
    logits = head((torch.randn(1, 1, 20, 30), torch.zeros(1, 4, 2, 2)))
    assert logits.shape == (1, 1, 20, 30)


def test_crops_around_boxes_have_the_features_of_the_whole_image():
    head = interior_head(pixel_channels=(4,) * 6).double().eval()
    for norm in (m for m in head.modules() if isinstance(m, torch.nn.BatchNorm2d)):
        torch.nn.init.normal_(norm.bias)  # what lies outside the image is not what a crop would make of zeros
    images = torch.randn(4, 1, 60, 70, dtype=torch.float64)
    overlapping = [[20, 20, 30, 33], [25, 18, 40, 30], [0, 50, 9, 60]]
    boxes = [overlapping, [], [[0, 0, 70, 60]], [[69, 0, 70, 1]]]
    convolved = []
    hook = head.pixels.register_forward_pre_hook(lambda _, args: convolved.append(args[0].shape[2] * args[0].shape[3]))
    logits, inside = head.segment(images, boxes)
    hook.remove()
    assert convolved == [29 * 26, 28 * 31, 18 * 17, 60 * 70, 9 * 9]
    head.crop_margin = None
    whole, inside_whole = head.segment(images, boxes)
    torch.testing.assert_close(logits, whole, atol=1e-12, rtol=0)
    assert (inside == inside_whole).all()
    assert (whole[1] == -20).all()
    with pytest.raises(ValueError, match='crop_margin=5, but 6 convolutions of 3x3 reach as many pixels'):
        interior_head(pixel_channels=(4,) * 6, crop_margin=5)


@pytest.mark.parametrize('size', [(41, 63), (32, 32), (96, 48)])
def test_bilinear_correlation_takes_images_of_any_size(size):
    """Where all that it sees is a gradient down the image, what it says of a row hardly depends on the size."""
    torch.manual_seed(0)
    encoder = LinearFusionEncoder(1, [4, 8, 8], image_size=32).eval()
    assert [x.shape[1] for x in encoder(torch.rand(2, 1, *size))] == [4, 8, 8]
    descriptor = encoder.levels[1].correlation.query

    def described(height, width):
        down = (torch.arange(height) + 0.5) / height
        return descriptor(down[:, None].expand(2, 4, height, width))[0, 0, :, 0]

    rows = described(*size)
    expected = torch.nn.functional.interpolate(described(16, 16)[None, None], len(rows), mode='linear')[0, 0]
    assert len(rows) == size[0]
    torch.testing.assert_close(rows, expected, atol=0.05, rtol=0)


@pytest.mark.parametrize('own_size', [False, True])
def test_side_outputs_warm_up_with_the_finest_alone(own_size):
    torch.manual_seed(0)
    sls = dict(type='mmirstd.ScaleLocationLoss', loss_weight=0.5)
    warmup = dict(type='mmirstd.SoftIoULoss', smooth=0.0)
    head = SideOutputHead([4, 8], own_size=own_size, warmup_iters=3, loss_warmup=warmup, loss_decode=sls)
    maps = (torch.rand(2, 4, 16, 16), torch.rand(2, 8, 8, 8))
    samples = []
    for i in range(2):
        label = torch.zeros(1, 16, 16, dtype=torch.long)
        label[0, 4 + i, 5] = 1
        samples.append(SegDataSample(gt_sem_seg=PixelData(data=label)))
    hub = MessageHub.get_current_instance()
    try:
        hub.update_info('iter', 2)
        losses = head.loss(maps, samples, {})
        assert set(losses) == {'loss_iou', 'loss_idle', 'target_prob'}
        assert losses['loss_idle'] == 0
        torch.testing.assert_close(head.train()(maps), head.masks(maps)[0][0])
        sum(value for key, value in losses.items() if key.startswith('loss')).backward()
        assert all(p.grad is not None for p in head.parameters())
        hub.update_info('iter', 3)
        losses = head.loss(maps, samples, {})
    finally:
        hub.update_info('iter', 0)
    assert set(losses) == {'loss_sls', 'loss_sls_sides', 'target_prob'}
    sides, fused = head.masks(maps)
    label = torch.cat([sample.gt_sem_seg.data for sample in samples])
    torch.testing.assert_close(losses['loss_sls'], head.loss_decode(fused, label))
    if own_size:
        small = torch.nn.functional.max_pool2d(label[:, None].float(), 2)[:, 0].long()
        coarse = head.loss_decode(sides[1], small)
    else:
        coarse = head.loss_decode(torch.nn.functional.interpolate(sides[1], (16, 16), mode='bilinear'), label)
    torch.testing.assert_close(losses['loss_sls_sides'], head.loss_decode(sides[0], label) + coarse)
    torch.testing.assert_close(head.eval()(maps), fused)


def test_ignored_pixels_hide_no_target_at_the_size_of_a_side_output():
    head = SideOutputHead([4], own_size=True)
    label = torch.zeros(1, 4, 6, dtype=torch.long)
    label[0, 0, 0], label[0, 1, 1], label[0, 2, 3] = 1, 255, 255
    label[0, :2, 4:] = 255
    assert head._coarse_label(label, torch.Size((2, 3))).tolist() == [[[1, 0, 255], [0, 0, 0]]]


class OfMaps(torch.nn.Module):
    """A head that takes its maps one by one, as ``torch.export`` gives them."""

    def __init__(self, head: torch.nn.Module) -> None:
        super().__init__()
        self.head = head

    def forward(self, first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
        return self.head((first, second))


@pytest.mark.parametrize(
    ('head', 'maps', 'message'),
    [
        (lambda: RegionHead(4, channels=4, num_convs=1), [(1, 4, 8, 8)] * 2, 'RegionHead has no graph: it labels'),
        (interior_head, [(1, 1, 32, 32), (1, 4, 2, 2)], 'InteriorAttentionHead has no graph: its attention'),
    ],
)
def test_heads_that_choose_say_why_they_have_no_graph(head, maps, message):
    model = OfMaps(head()).eval()
    maps = tuple(torch.rand(shape) for shape in maps)
    with torch.no_grad():
        model(*maps)
        with pytest.raises(NoGraphError, match=message):
            torch.export.export(model, maps, strict=False)
