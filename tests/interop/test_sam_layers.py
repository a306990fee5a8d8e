"""The two-way transformer and the position encoding against segment-anything's, every parameter randomised."""

import pytest
import torch

from mmirstd.models.layers import FourierPosition, TwoWayTransformer

sam = pytest.importorskip('segment_anything.modeling')


@pytest.mark.parametrize('size', [(8, 8), (7, 13)])
@pytest.mark.parametrize(('embed_dims', 'heads', 'downsample_rate'), [(256, 8, 2), (48, 4, 1)])
def test_two_way_transformer(size, embed_dims, heads, downsample_rate):
    torch.manual_seed(0)
    theirs = sam.TwoWayTransformer(
        depth=2, embedding_dim=embed_dims, num_heads=heads, mlp_dim=64, attention_downsample_rate=downsample_rate
    )
    for parameter in theirs.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    ours = TwoWayTransformer(2, embed_dims, heads, 64, downsample_rate)
    ours.load_state_dict(theirs.state_dict())
    image, tokens = torch.randn(2, embed_dims, *size), torch.randn(2, 9, embed_dims)
    pe = torch.randn(1, embed_dims, *size)
    expected_tokens, expected_image = theirs(image, pe.expand(2, -1, -1, -1), tokens)
    got_tokens, got_image = ours(image, pe.flatten(2).transpose(1, 2), tokens)
    torch.testing.assert_close(got_tokens, expected_tokens, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(got_image.flatten(2).transpose(1, 2), expected_image, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize('size', [(8, 8), (7, 13), (1, 5)])
def test_fourier_position(size):
    theirs = sam.prompt_encoder.PositionEmbeddingRandom(24, scale=1.3)
    ours = FourierPosition(48)
    ours.load_state_dict(theirs.state_dict())
    torch.testing.assert_close(ours(*size), theirs(size).flatten(1).T[None], atol=1e-5, rtol=1e-5)
