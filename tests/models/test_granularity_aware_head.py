"""The granularity-aware head behind small backbones, its labels and its checkpoints."""

import copy
import re

import numpy as np
import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.model import BaseModule
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from scipy import ndimage
from torch import nn

import mmirstd  # noqa: F401
from mmirstd.checkpoints.convert.sam import EDGE_BRANCH, convert_sam_decoder_state_dict
from mmirstd.checkpoints.state_dict import CheckpointError
from mmirstd.models.losses import mask_boundary

LOSS = dict(type='mmirstd.SoftIoULoss', smooth=1e-6, per_image=False)
MAPS = torch.randn(2, 10, 4, 4), torch.randn(2, 16, 4, 4)
BRANCHES = {'early+deep': set(EDGE_BRANCH)}
BRANCHES['deep'] = BRANCHES['early+deep'] - {'compress_vit_feat'}
BRANCHES['early'] = BRANCHES['early+deep'] - {'embedding_encoder'}


@MODELS.register_module()
class Pair(BaseModule):
    """An early and a deep map of chosen widths and strides."""

    def __init__(self, widths=(10, 16), strides=(16, 16)):
        super().__init__()
        self.convs = nn.ModuleList(nn.Conv2d(3, w, s, s) for w, s in zip(widths, strides, strict=True))

    def forward(self, x):
        return tuple(conv(x) for conv in self.convs)


def head(**kwargs):
    cfg = dict(type='mmirstd.GranularityAwareHead', in_channels=16, channels=16, early_channels=10, num_heads=2)
    return cfg | dict(feedforward_channels=24, loss_decode=LOSS) | kwargs


def segmentor(decode_head, **backbone):
    cfg = dict(type='EncoderDecoder', backbone=dict(type='Pair', **backbone), decode_head=decode_head)
    return MODELS.build(copy.deepcopy(cfg | dict(test_cfg=ConfigDict(mode='whole'))))


def samples(batch, size, fill=None):
    result = []
    for _ in range(batch):
        label = (torch.rand(1, *size) < 0.1).long() if fill is None else torch.full((1, *size), fill)
        sample = SegDataSample(metainfo=dict(ori_shape=size, img_shape=size, pad_shape=size))
        sample.gt_sem_seg = PixelData(data=label)
        result.append(sample)
    return result


def train_step(model, size=(64, 64), batch=2, fill=None):
    model.train()
    losses = model.loss(torch.randn(batch, 3, *size), samples(batch, size, fill))
    sum(value for name, value in losses.items() if 'loss' in name).backward()
    return losses, [name for name, p in model.named_parameters() if p.requires_grad and p.grad is None]


@pytest.mark.parametrize('fuse', ['early+deep', 'deep', 'early'])
@pytest.mark.parametrize(('strides', 'size'), [((16, 16), (64, 64)), ((8, 16), (50, 83)), ((4, 8), (48, 32))])
def test_trains_and_predicts_behind_any_pair(fuse, strides, size):
    model = segmentor(head(fuse=fuse), strides=strides)
    losses, unused = train_step(model, size)
    assert set(losses) == {'decode.loss_iou', 'decode.loss_edge', 'decode.target_prob'}
    assert all(torch.isfinite(value) for value in losses.values())
    # Early features that the head has no use for.
    assert unused == ([] if 'early' in fuse else ['backbone.convs.0.weight', 'backbone.convs.0.bias'])
    model.eval()
    with torch.no_grad():
        (result,) = model.predict(torch.randn(1, 3, *size), samples(1, size))
    assert result.seg_logits.data.shape == (1, *size)
    assert 0 <= result.seg_logits.data.min() <= result.seg_logits.data.max() <= 1


def test_without_edge_it_is_sams_decoder():
    model = segmentor(head(with_edge=False, early_channels=None))
    losses, unused = train_step(model)
    assert set(losses) == {'decode.loss_iou', 'decode.target_prob'}
    assert all(name.startswith('backbone.convs.0') for name in unused)
    names = {name.split('.')[1] for name, _ in model.named_parameters() if name.startswith('decode_head')}
    assert not names & set(EDGE_BRANCH)
    with pytest.raises(ValueError, match='with_edge=False predicts no edge'):
        model.decode_head.predict_edge(model.backbone(torch.randn(1, 3, 32, 32)), [dict(img_shape=(32, 32))])


def test_the_edge_sharpens_the_mask():
    torch.manual_seed(0)
    module = MODELS.build(head())
    # Constant features times a constant token: the same edge logit everywhere.
    for part in (module.embedding_maskfeature, module.embedding_encoder, module.compress_vit_feat):
        nn.init.zeros_(part[-1].weight)
        nn.init.constant_(part[-1].bias, 1.0)
    nn.init.zeros_(module.edge_mlp.layers[-1].weight)
    masks = {}
    for logit in (-100.0, 0.0, 100.0):
        nn.init.constant_(module.edge_mlp.layers[-1].bias, logit / 6)  # 2 channels of 3 features
        masks[logit], edge = module.forward_maps(MAPS)
        torch.testing.assert_close(edge, torch.full_like(edge, logit))
        torch.testing.assert_close(module(MAPS), masks[logit])
    torch.testing.assert_close(masks[0.0], 1.5 * masks[-100.0])
    torch.testing.assert_close(masks[100.0], 2 * masks[-100.0])


def test_early_features_reach_the_mask_and_are_resized():
    torch.manual_seed(0)
    deep = torch.randn(1, 16, 4, 5)
    for upscale, size in ((4, (4, 5)), (2, (8, 10)), (1, (16, 20)), (4, (3, 3))):
        module = MODELS.build(head(early_upscale=upscale))
        a, b = (module((torch.randn(1, 10, *size), deep)) for _ in range(2))
        assert a.shape == (1, 1, 16, 20)
        assert not torch.allclose(a, b)
    module = MODELS.build(head(fuse='deep', in_index=1))
    a, b = (module((torch.randn(1, 10, 4, 5), deep)) for _ in range(2))
    torch.testing.assert_close(a, b)


def test_other_widths_and_places():
    module = MODELS.build(head(in_channels=24, early_channels=8, early_index=1, in_index=2))
    maps = torch.randn(1, 4, 16, 16), torch.randn(1, 8, 8, 8), torch.randn(1, 24, 4, 4)
    assert module(maps).shape == (1, 1, 16, 16)
    assert isinstance(module.token_in, nn.Conv2d)
    assert isinstance(MODELS.build(head()).token_in, nn.Identity)


@pytest.mark.parametrize('loss', ['mmirstd.BinaryCrossEntropyLoss', 'mmirstd.BinaryDiceLoss', 'mmirstd.SoftIoULoss'])
def test_other_losses_and_names(loss):
    cfg = head(
        loss_decode=[dict(type=loss, loss_name='loss_a')],
        loss_edge=dict(type='mmirstd.BinaryDiceLoss', loss_name='loss_b', loss_weight=2.0),
    )
    losses, unused = train_step(segmentor(cfg))
    assert set(losses) == {'decode.loss_a', 'decode.loss_b', 'decode.target_prob'}
    assert not unused


def test_an_edge_loss_of_the_masks_name_adds_to_it():
    torch.manual_seed(0)
    bce = dict(type='mmirstd.BinaryCrossEntropyLoss', loss_name='loss_bce')
    model = segmentor(head(loss_decode=bce, loss_edge=bce))
    x, truth = torch.randn(2, 3, 64, 64), samples(2, (64, 64))
    together = model.loss(x, truth)['decode.loss_bce']
    model.decode_head.loss_edge.loss_name = 'loss_edge'
    apart = model.loss(x, truth)
    torch.testing.assert_close(together, apart['decode.loss_bce'] + apart['decode.loss_edge'])


def test_all_ignored_and_published_weight():
    losses, _ = train_step(segmentor(head()), fill=255)
    assert all(value == 0 for name, value in losses.items() if 'loss' in name)
    torch.manual_seed(0)
    model = segmentor(head())
    x, truth = torch.randn(2, 3, 32, 32), samples(2, (32, 32))
    edge = model.decode_head.predict_edge(model.extract_feat(x), [s.metainfo for s in truth])
    target = model.decode_head.edge_label(truth)
    expected = 5 * nn.functional.binary_cross_entropy_with_logits(edge[:, 0], target.float())
    torch.testing.assert_close(model.loss(x, truth)['decode.loss_edge'], expected)


def test_checkpointing_and_autocast():
    torch.manual_seed(0)
    model = segmentor(head())
    twin = copy.deepcopy(model)
    twin.decode_head.with_cp = True
    x, truth = torch.randn(2, 3, 64, 64), samples(2, (64, 64))
    for m in (model, twin):
        sum(v for k, v in m.loss(x, truth).items() if 'loss' in k).backward()
    gradients = dict(twin.named_parameters())
    for name, p in model.named_parameters():
        torch.testing.assert_close(gradients[name].grad, p.grad, msg=name)
    with torch.autocast('cpu', torch.bfloat16):
        losses = model.loss(x, truth)
        (result,) = model.predict(x[:1], truth[:1])
    assert all(torch.isfinite(v) for v in losses.values())
    assert result.seg_logits.data.dtype == torch.float32


def test_position_encoding_is_exact_under_autocast():
    from mmirstd.models.layers import FourierPosition

    position = FourierPosition(16)
    with torch.autocast('cpu', torch.bfloat16):
        half = position(5, 7)
    torch.testing.assert_close(half, position(5, 7))


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (dict(fuse='late'), "fuse='late' is none of"),
        (dict(edge_target='canny'), "edge_target='canny' is none of"),
        (dict(early_upscale=3), r'early_upscale=3 is none of \(4, 2, 1\)'),
        (dict(early_channels=None), "fuse='early\\+deep' needs early_channels"),
        (dict(mask_index=4), 'mask_index=4 of num_mask_tokens=4'),
        (dict(channels=12), 'channels=12 out of range'),
        (dict(out_channels=2), 'GranularityAwareHead predicts one target logit; out_channels=2'),
    ],
)
def test_errors(change, message):
    with pytest.raises(ValueError, match=message):
        MODELS.build(head(**change))


@pytest.mark.parametrize('seed', range(8))
def test_boundary_is_dilation_minus_erosion(seed):
    rng = np.random.default_rng(seed)
    mask = ndimage.binary_opening(rng.random((3, 23, 31)) < 0.6, np.ones((1, 2, 2))) if seed % 2 else (
        rng.random((3, 23, 31)) < 0.2
    )  # fmt: skip
    cross = ndimage.generate_binary_structure(2, 1)
    both = np.stack(
        [ndimage.binary_dilation(m, cross) & ~ndimage.binary_erosion(m, cross, border_value=1) for m in mask]
    )
    label = torch.from_numpy(mask).long()
    np.testing.assert_array_equal(mask_boundary(label).numpy(), both)
    np.testing.assert_array_equal(mask_boundary(label, inner=True).numpy(), both & mask)
    np.testing.assert_array_equal(mask_boundary(label.byte(), None).numpy(), both)


def test_boundary_beside_ignored_ground_and_degenerate_sizes():
    label = torch.zeros(1, 5, 6, dtype=torch.long)
    label[0, 1:4, 2:4] = 1
    label[0, :, 4:] = 255
    edge = mask_boundary(label)
    assert (edge[0, :, 4:] == 255).all()
    # Columns 2 and 3: the right side of the target touches ignored ground only.
    assert edge[0, :, :4].tolist() == [[0, 0, 1, 1], [0, 1, 1, 1], [0, 1, 1, 0], [0, 1, 1, 1], [0, 0, 1, 1]]
    assert (mask_boundary(torch.full((2, 3, 4), 255)) == 255).all()
    for size in ((1, 1), (1, 5), (5, 1)):
        assert not mask_boundary(torch.ones(1, *size, dtype=torch.long)).any()


def test_edges_of_the_sample():
    truth = samples(2, (16, 16))
    module = MODELS.build(head(edge_target='sample'))
    with pytest.raises(ValueError, match=r'no gt_edge_map.*mmirstd\.CannyEdge'):
        module.edge_label(truth)
    for sample in truth:
        sample.gt_sem_seg.data[:, 12:] = 255
        sample.gt_edge_map = PixelData(data=(torch.rand(1, 16, 16) < 0.3).long())
    label = module.edge_label(truth)
    torch.testing.assert_close(label[:, :12], torch.cat([s.gt_edge_map.data[:, :12] for s in truth]))
    assert (label[:, 12:] == 255).all()
    inner, both = (MODELS.build(head(edge_target=t)).edge_label(truth) for t in ('inner', 'boundary'))
    assert ((inner == 1) <= (both == 1)).all()
    assert (inner == 1).sum() < (both == 1).sum()


def sam_state(module, layout='sam'):
    """A whole SAM's keys around the weights of a head, as segment-anything and IRSAM's authors have them."""
    state = {}
    for key, value in module.state_dict().items():
        part = key.split('.')[0]
        if part in EDGE_BRANCH and layout == 'sam':
            continue
        if layout == 'irsam' and re.match(r'embedding_maskfeature\.[03]\.weight', key):
            value = value.flip(2, 3).transpose(0, 1)
        prompt = part in ('pe_layer', 'no_mask_embed')
        state[f'{"prompt_encoder" if prompt else "mask_decoder"}.{key}'] = value
    for i in range(4):
        state.setdefault(f'mask_decoder.output_hypernetworks_mlps.{i}.layers.0.weight', torch.zeros(2, 2))
        state[f'prompt_encoder.point_embeddings.{i}.weight'] = torch.zeros(1, 16)
    for name in ('not_a_point_embed', 'mask_downscaling.0', 'mask_downscaling.6'):
        state[f'prompt_encoder.{name}.weight'] = torch.zeros(1)
    if layout == 'irsam':
        state['prompt_encoder.pe_layer_2.positional_encoding_gaussian_matrix'] = torch.zeros(2, 8)
    state['mask_decoder.iou_prediction_head.layers.0.weight'] = torch.zeros(1)
    state['image_encoder.patch_embed.proj.weight'] = torch.zeros(1)
    state['pixel_mean'] = torch.zeros(3, 1, 1)
    return state


def randomised(**kwargs):
    module = MODELS.build(head(**kwargs))
    for p in module.parameters():
        nn.init.normal_(p, std=0.3)
    return module


def loaded(path, **kwargs):
    module = MODELS.build(head(init_cfg=dict(type='Pretrained', checkpoint=str(path)), **kwargs))
    module.init_weights()
    return module


@pytest.mark.parametrize('kwargs', [dict(with_edge=False), dict(with_edge=False, mask_index=2)])
def test_sam_checkpoint_gives_sams_mask(tmp_path, kwargs):
    source = randomised(**kwargs)
    torch.save(sam_state(source), tmp_path / 'sam.pth')
    torch.testing.assert_close(loaded(tmp_path / 'sam.pth', **kwargs)(MAPS), source(MAPS))


def test_sam_checkpoint_leaves_the_edge_branch(tmp_path, caplog):
    source = randomised()
    torch.save(dict(state_dict=sam_state(source)), tmp_path / 'sam.pth')
    torch.manual_seed(3)
    module = MODELS.build(head(init_cfg=dict(type='Pretrained', checkpoint=str(tmp_path / 'sam.pth'))))
    before = copy.deepcopy(module.state_dict())
    module.init_weights()
    for key, value in module.state_dict().items():
        same = before if key.split('.')[0] in EDGE_BRANCH else source.state_dict()
        torch.testing.assert_close(value, same[key], msg=key)
    assert module.init_cfg['checkpoint'] == str(tmp_path / 'sam.pth')


@pytest.mark.parametrize('fuse', BRANCHES)
def test_irsam_checkpoint_gives_its_mask_and_edge(tmp_path, fuse):
    source = randomised()
    torch.save(sam_state(source, 'irsam'), tmp_path / 'irsam.pth')
    module = loaded(tmp_path / 'irsam.pth', fuse=fuse)
    branches = {key.split('.')[0] for key in module.state_dict()} & set(EDGE_BRANCH)
    assert branches == BRANCHES[fuse]
    if fuse == 'early+deep':
        for got, expected in zip(module.forward_maps(MAPS), source.forward_maps(MAPS), strict=True):
            torch.testing.assert_close(got, expected)


def test_own_checkpoint(tmp_path):
    model = segmentor(head())
    torch.save(dict(state_dict=model.state_dict()), tmp_path / 'own.pth')
    cfg = dict(type='Pretrained', checkpoint=str(tmp_path / 'own.pth'), prefix='decode_head')
    module = MODELS.build(head(init_cfg=cfg))
    module.init_weights()
    torch.testing.assert_close(module(MAPS), model.decode_head(MAPS))


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (lambda s: s | {'mask_decoder.hf_token.weight': torch.zeros(1)}, 'belong nowhere.*hf_token'),
        (lambda s: s | {'text.weight': torch.zeros(1)}, r'belong nowhere.*text\.weight'),
        (lambda s: {k: v for k, v in s.items() if 'iou_token' not in k}, r'1 missing keys \(iou_token'),
        (lambda s: {k: v for k, v in s.items() if 'edge_mlp.layers.0' not in k}, r'2 missing keys \(edge_mlp'),
        (lambda s: s | {'mask_decoder.mask_tokens.weight': torch.zeros(3, 16)}, 'another shape'),
        (lambda s: {k: v for k, v in s.items() if k.startswith('image_encoder')}, 'unexpected keys'),
    ],
)
def test_what_does_not_fit_is_an_error(tmp_path, change, message):
    torch.save(change(sam_state(randomised(), 'irsam')), tmp_path / 'x.pth')
    with pytest.raises(CheckpointError, match=message) as error:
        loaded(tmp_path / 'x.pth')
    assert 'x.pth' in str(error.value)


def test_dropped_keys_are_told():
    state, dropped = convert_sam_decoder_state_dict(sam_state(randomised()))
    assert len(state) + len(dropped) == len(sam_state(randomised()))
    parts = {key.rsplit('.', 1)[0] for key in dropped}
    assert 'prompt_encoder.not_a_point_embed' in parts
    assert 'mask_decoder.output_hypernetworks_mlps.3.layers.0' in parts
    assert not any(key.startswith(('mask_decoder', 'prompt_encoder')) for key in state)


def test_init_weights_without_a_checkpoint():
    module = MODELS.build(head())
    module.init_weights()
    module = MODELS.build(head(init_cfg=dict(type='Constant', layer='Embedding', val=0.25)))
    module.init_weights()
    assert (module.iou_token.weight == 0.25).all()
