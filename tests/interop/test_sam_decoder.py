"""The granularity-aware head against segment-anything's mask decoder and prompt encoder, every parameter randomised."""

import pytest
import torch
from torch import nn

from mmirstd.checkpoints.convert.sam import EDGE_BRANCH, convert_sam_decoder_state_dict, convert_tiny_vit_state_dict
from mmirstd.models.decode_heads import GranularityAwareHead

sam = pytest.importorskip('segment_anything.modeling')

LOSS = dict(type='mmirstd.SoftIoULoss')


def reference(dim, mlp_dim, heads, grid):
    """SAM's decoder and prompt encoder for a grid (H, W), as modules of one whole."""
    torch.manual_seed(0)
    transformer = sam.TwoWayTransformer(depth=2, embedding_dim=dim, mlp_dim=mlp_dim, num_heads=heads)
    whole = nn.ModuleDict(
        dict(
            mask_decoder=sam.MaskDecoder(transformer_dim=dim, transformer=transformer),
            prompt_encoder=sam.PromptEncoder(dim, grid, tuple(16 * n for n in grid), mask_in_chans=16),
        )
    )
    for parameter in whole.parameters():
        nn.init.normal_(parameter, std=0.2)
    return whole.eval()


@pytest.mark.parametrize('grid', [(8, 8), (5, 9)])
@pytest.mark.parametrize(('dim', 'mlp_dim', 'heads'), [(256, 2048, 8), (48, 40, 4)])
@pytest.mark.parametrize('mask_index', range(4))
def test_mask_decoder_without_prompts(tmp_path, grid, dim, mlp_dim, heads, mask_index):
    whole = reference(dim, mlp_dim, heads, grid)
    torch.save(whole.state_dict(), tmp_path / 'sam.pth')
    head = GranularityAwareHead(
        dim,
        dim,
        num_heads=heads,
        feedforward_channels=mlp_dim,
        with_edge=False,
        mask_index=mask_index,
        loss_decode=LOSS,
        init_cfg=dict(type='Pretrained', checkpoint=str(tmp_path / 'sam.pth')),
    )
    head.init_weights()
    image = torch.randn(2, dim, *grid)
    sparse, dense = whole['prompt_encoder'](points=None, boxes=None, masks=None)
    assert sparse.shape == (1, 0, dim)
    with torch.no_grad():
        # SAM's decoder repeats one image for its prompts, so it takes one at a time.
        expected = torch.cat(
            [
                whole['mask_decoder'].predict_masks(
                    image_embeddings=x[None],
                    image_pe=whole['prompt_encoder'].get_dense_pe(),
                    sparse_prompt_embeddings=sparse,
                    dense_prompt_embeddings=dense,
                )[0]
                for x in image
            ]
        )
        got = head((image,))
    assert expected.std() > 0.01
    torch.testing.assert_close(got, expected[:, mask_index : mask_index + 1], atol=1e-4, rtol=1e-4)


def test_single_mask_output_is_the_default(tmp_path):
    whole = reference(256, 64, 8, (4, 4))
    torch.save(whole.state_dict(), tmp_path / 'sam.pth')
    cfg = dict(type='Pretrained', checkpoint=str(tmp_path / 'sam.pth'))
    head = GranularityAwareHead(feedforward_channels=64, with_edge=False, loss_decode=LOSS, init_cfg=cfg)
    head.init_weights()
    image = torch.randn(1, 256, 4, 4)
    sparse, dense = whole['prompt_encoder'](points=None, boxes=None, masks=None)
    with torch.no_grad():
        expected, _ = whole['mask_decoder'](
            image, whole['prompt_encoder'].get_dense_pe(), sparse, dense, multimask_output=False
        )
        torch.testing.assert_close(head((image,)), expected, atol=1e-4, rtol=1e-4)


def test_mobile_sams_decoder(mobile_sam):
    """Equal masks with the real weights, from a map that is not square as theirs is."""
    whole = reference(256, 2048, 8, (9, 12))
    file = torch.load(mobile_sam, weights_only=True)
    whole.load_state_dict({k: v for k, v in file.items() if not k.startswith('image_encoder.')})
    cfg = dict(type='Pretrained', checkpoint=mobile_sam)
    # An edge token takes part in the attention between tokens, so SAM's mask is SAM's without one.
    head = GranularityAwareHead(with_edge=False, loss_decode=LOSS, init_cfg=cfg)
    head.init_weights()
    image = torch.randn(1, 256, 9, 12)
    sparse, dense = whole['prompt_encoder'](points=None, boxes=None, masks=None)
    with torch.no_grad():
        expected, _ = whole['mask_decoder'](
            image, whole['prompt_encoder'].get_dense_pe(), sparse, dense, multimask_output=False
        )
        torch.testing.assert_close(head((image,)), expected, atol=1e-4, rtol=1e-4)


def test_no_key_of_mobile_sam_is_unexplained(mobile_sam):
    file = torch.load(mobile_sam, weights_only=True)
    state, dropped = convert_sam_decoder_state_dict(file)
    assert len(state) + len(dropped) == len(file) == 439
    own = GranularityAwareHead(early_channels=160, loss_decode=LOSS).state_dict()
    assert {k for k in own if k.split('.')[0] not in EDGE_BRANCH} == state.keys()
    assert len(own) - len(state) == 25
    encoder, others = convert_tiny_vit_state_dict(file)
    unused = {k for k in dropped if k.removeprefix('image_encoder.') in others}
    assert len(state) + len(encoder) + len(unused) == 439
    assert {'.'.join(k.split('.')[:2]) for k in unused} == {
        'image_encoder.head',
        'image_encoder.norm_head',
        'mask_decoder.iou_prediction_head',
        'mask_decoder.output_hypernetworks_mlps',
        'prompt_encoder.mask_downscaling',
        'prompt_encoder.not_a_point_embed',
        'prompt_encoder.point_embeddings',
    }
    assert not [k for k in unused if k.startswith('mask_decoder.output_hypernetworks_mlps.0')]
    assert sum(p.numel() for p in GranularityAwareHead(early_channels=160, loss_decode=LOSS).parameters()) == 3_955_072
