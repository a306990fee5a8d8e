"""SAMViT against segment-anything, mmpretrain and timm: every parameter random, same features."""

from functools import partial

import pytest
import torch
from mmengine.config import Config
from mmseg.registry import MODELS
from torch import nn

from mmirstd.checkpoints.convert.sam import convert_sam_vit_state_dict
from mmirstd.models.backbones.sam_vit import ARCHS, SAMViT

TINY = ARCHS['tiny']
# Parameters of the image encoders, in millions; timm's table of results (samvit_*_patch16).
MILLIONS = {'b': 89.67, 'l': 308.28, 'h': 637.03}


def randomise(net):
    """All parameters random; SAM's position embeddings and relative positions start at zero and would hide errors."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, p in net.named_parameters():
            if 'pos' in name:
                p.normal_(0, 0.5, generator=generator)
            elif p.ndim == 1:
                p.normal_(1 if name.endswith('weight') else 0, 0.2, generator=generator)
            else:
                p.normal_(0, p[0].numel() ** -0.5, generator=generator)
    net.eval()  # mmpretrain's returns None
    return net


def segment_anything(img_size=160, window_size=4, arch=TINY, **kwargs):
    modeling = pytest.importorskip('segment_anything.modeling')
    net = modeling.ImageEncoderViT(
        img_size=img_size,
        embed_dim=arch['embed_dims'],
        depth=arch['depth'],
        num_heads=arch['num_heads'],
        global_attn_indexes=arch['global_layers'],
        norm_layer=partial(nn.LayerNorm, eps=1e-6),
        use_rel_pos=True,
        window_size=window_size,
        **kwargs,
    )
    return randomise(net)


def mmpretrain(img_size=160, window_size=4, **kwargs):
    backbones = pytest.importorskip('mmpretrain.models.backbones')
    arch = {
        'embed_dims': TINY['embed_dims'],
        'num_layers': TINY['depth'],
        'num_heads': TINY['num_heads'],
        'feedforward_channels': 4 * TINY['embed_dims'],
        'global_attn_indexes': TINY['global_layers'],
    }
    return randomise(backbones.ViTSAM(arch, img_size=img_size, window_size=window_size, **kwargs))


def timm(img_size=160, window_size=4, **kwargs):
    vision = pytest.importorskip('timm.models.vision_transformer_sam')
    net = vision.VisionTransformerSAM(
        img_size=img_size,
        num_classes=7,
        embed_dim=TINY['embed_dims'],
        depth=TINY['depth'],
        num_heads=TINY['num_heads'],
        global_attn_indexes=TINY['global_layers'],
        use_rel_pos=True,
        window_size=window_size,
        **kwargs,
    )
    return randomise(net)


def ours(state, tmp_path, prefix=None, **kwargs):
    path = tmp_path / 'sam.pth'
    torch.save(state, path)
    net = SAMViT(**{'arch': 'tiny', 'window_size': 4, 'out_indices': (0, 1, 2, 3)} | kwargs)
    net.load_pretrained(str(path), prefix)
    return net.eval()


def assert_same(outs, expected, tol=1e-4):
    assert len(outs) == len(expected)
    for out, ref in zip(outs, expected, strict=True):
        assert 0.1 < ref.std() < 10
        torch.testing.assert_close(out, ref, atol=tol, rtol=tol)


@pytest.mark.parametrize(('img_size', 'window_size'), [(160, 4), (128, 4), (64, 14), (96, 3)])
@torch.no_grad()
def test_segment_anything(img_size, window_size, tmp_path):
    reference = segment_anything(img_size, window_size)
    hidden = []
    for block in reference.blocks:
        block.register_forward_hook(lambda m, args, out: hidden.append(out.permute(0, 3, 1, 2)))
    image = torch.randn(2, 3, img_size, img_size)
    neck = reference(image)
    state = {f'image_encoder.{k}': v for k, v in reference.state_dict().items()}
    state |= {'prompt_encoder.no_mask_embed.weight': torch.zeros(1, 256), 'mask_decoder.x': torch.zeros(1)}
    net = ours(state, tmp_path, img_size=img_size, window_size=window_size)
    assert_same(net(image), [*hidden, neck])
    # What is left is rounding: in float64 it vanishes.
    hidden.clear()
    neck = reference.double()(image.double())
    assert_same(net.double()(image.double()), [*hidden, neck], 1e-10)


@torch.no_grad()
def test_segment_anything_b_at_256(tmp_path):
    reference = segment_anything(256, 14, ARCHS['b'])
    net = ours(reference.state_dict(), tmp_path, arch='b', img_size=256, window_size=14, out_indices=())
    image = torch.randn(1, 3, 256, 256)
    assert_same(net(image), [reference(image)])


@pytest.mark.parametrize('arch', MILLIONS)
def test_keys_shapes_and_parameters_of_the_published_variants(arch):
    """The whole of SAM as its builder makes it, without memory for it."""
    registry = pytest.importorskip('segment_anything').sam_model_registry
    with torch.device('meta'):
        whole = registry[f'vit_{arch}']().state_dict()
        net = SAMViT(arch)
    state, dropped = convert_sam_vit_state_dict(whole)
    assert len(state) + len(dropped) == len(whole)
    assert all(key.startswith(('prompt_encoder.', 'mask_decoder.')) for key in dropped)
    assert {k: v.shape for k, v in state.items()} == {k: v.shape for k, v in net.state_dict().items()}
    assert sum(p.numel() for p in net.parameters()) / 1e6 == pytest.approx(MILLIONS[arch], abs=0.006)


@pytest.mark.parametrize('size', [(160, 160), (96, 208), (64, 80), (90, 131)])
@pytest.mark.parametrize('in_segmentor', [False, True])
@torch.no_grad()
def test_mmpretrain(size, in_segmentor, tmp_path):
    """mmpretrain interpolates position embeddings as they are and pads images to whole patches."""
    # Its layers' outputs go through the neck unless that is left out.
    reference, bare = mmpretrain(out_indices=[3]), mmpretrain(out_indices=[0, 1, 2, 3], out_channels=0)
    state = reference.state_dict()
    bare.load_state_dict({k: v for k, v in state.items() if not k.startswith('channel_reduction')})
    prefix = None
    if in_segmentor:
        state = {f'backbone.{k}': v for k, v in state.items()} | {'decode_head.x': torch.zeros(1)}
        prefix = 'backbone'
    net = ours({'state_dict': state, 'meta': {}}, tmp_path, prefix, img_size=160, antialias=False)
    image = torch.randn(1, 3, *size)
    assert_same(net(image), [*bare(image), *reference(image)])


@pytest.mark.parametrize('size', [(160, 160), (96, 208), (64, 80)])
@torch.no_grad()
def test_timm(size, tmp_path):
    reference = timm()
    net = ours(reference.state_dict(), tmp_path, img_size=160)
    image = torch.randn(2, 3, *size)
    neck, hidden = reference.forward_intermediates(image)
    assert_same(net(image), [*hidden, neck])


@torch.no_grad()
def test_checkpoint_of_another_size(tmp_path):
    """Tables interpolated once, when loaded, are those that the references interpolate at every image."""
    reference = timm()
    net = ours(reference.state_dict(), tmp_path, img_size=96)
    assert net.pos_embed.shape == (1, 6, 6, 32)
    assert net.blocks[1].attn.rel_pos_h.shape == (11, 16)
    assert net.blocks[0].attn.rel_pos_h.shape == (7, 16)
    image = torch.randn(2, 3, 96, 96)
    neck, hidden = reference.forward_intermediates(image)
    assert_same(net(image), [*hidden, neck])
    # Loaded into another window, the tables are those that mmpretrain makes of them.
    mm = mmpretrain(img_size=96, window_size=6, out_indices=[3])
    mm.load_state_dict(mmpretrain(img_size=160, window_size=4, out_indices=[3]).state_dict())
    state = mmpretrain(img_size=160, window_size=4, out_indices=[3]).state_dict()
    net = ours(state, tmp_path, img_size=96, window_size=6, antialias=False, out_indices=())
    assert_same(net(image), mm(image))


@torch.no_grad()
def test_low_rank_updates_start_at_nothing_and_deploy(tmp_path):
    reference = segment_anything()
    image = torch.randn(1, 3, 160, 160)
    expected = [reference(image)]
    net = ours(reference.state_dict(), tmp_path, img_size=160, out_indices=(), lora_rank=3)
    assert_same(net(image), expected)
    assert net.switch_to_deploy() == 4
    assert_same(net(image), expected)


@torch.no_grad()
def test_stands_in_for_mmpretrain_in_a_config(tmp_path):
    """IRSAM's model with mmpretrain.ViTSAM and with ours, of the same weights, predicts the same."""
    pytest.importorskip('mmpretrain')
    cfg = Config(
        dict(
            type='mmseg.EncoderDecoder',
            backbone=dict(
                type='mmpretrain.ViTSAM',
                arch=dict(
                    embed_dims=32, num_layers=4, num_heads=2, feedforward_channels=128, global_attn_indexes=[1, 3]
                ),
                img_size=96,
                out_channels=16,
                out_indices=[3],
            ),
            decode_head=dict(
                type='mmirstd.GranularityAwareHead',
                in_channels=16,
                channels=16,
                feedforward_channels=8,
                fuse='deep',
                num_heads=2,
                loss_decode=dict(type='mmirstd.SoftIoULoss'),
            ),
            test_cfg=dict(mode='whole'),
        )
    )
    theirs = randomise(MODELS.build(cfg))
    path = tmp_path / 'segmentor.pth'
    torch.save({'state_dict': theirs.state_dict()}, path)
    cfg.backbone = dict(type='mmirstd.SAMViT', arch='tiny', img_size=96, neck_channels=16, antialias=False)
    ours = MODELS.build(cfg)
    ours.backbone.load_pretrained(str(path), 'backbone')
    ours.decode_head.load_state_dict(theirs.decode_head.state_dict())
    for size in ((96, 96), (80, 130)):
        image = torch.randn(1, 3, *size)
        expected = theirs(image)
        assert expected.std() > 1e-3
        torch.testing.assert_close(ours.eval()(image), expected, atol=1e-4, rtol=1e-4)
