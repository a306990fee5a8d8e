"""IRSAM as its released code lays it out, put together from timm and segment-anything: what ours is measured against.

Batch norms stay, attention is written out, the decoder takes one image at a time and computes all of SAM's outputs. The
arrangement is that of https://github.com/IPIC-Lab/IRSAM; the parts are timm's and segment-anything's.
"""

import timm
import torch
from segment_anything.modeling import MaskDecoder, PromptEncoder, TwoWayTransformer
from segment_anything.modeling.common import LayerNorm2d
from segment_anything.modeling.mask_decoder import MLP
from torch import nn

from mmirstd.models.decode_heads.binary_head import BinaryHead
from mmirstd.registry import MODELS


def upscaling(channels):
    return nn.Sequential(
        nn.ConvTranspose2d(channels, channels // 4, 2, 2),
        LayerNorm2d(channels // 4),
        nn.GELU(),
        nn.ConvTranspose2d(channels // 4, channels // 8, 2, 2),
    )


@MODELS.register_module()
class PlainTinyViT(nn.Module):
    """timm's TinyViT-5M at MobileSAM's stride, with SAM's neck: (B, 3, H, W) to a tuple of (B, 256, H / 16, W / 16)."""

    def __init__(self):
        super().__init__()
        fused = timm.layers.use_fused_attn()
        timm.layers.set_fused_attn(False)
        self.net = timm.create_model('tiny_vit_5m_224', num_classes=0)
        timm.layers.set_fused_attn(fused)
        self.net.stages[3].downsample.conv2.conv.stride = (1, 1)
        self.neck = nn.Sequential(
            nn.Conv2d(320, 256, 1, bias=False),
            LayerNorm2d(256),
            nn.Conv2d(256, 256, 3, padding=1, bias=False),
            LayerNorm2d(256),
        )

    def forward(self, x):
        return (self.neck(self.net.forward_features(x)),)


@MODELS.register_module()
class PlainEdgeHead(BinaryHead):
    """SAM's mask decoder and prompt encoder, with an edge from deep features."""

    def __init__(self, grid=64, **kwargs):
        super().__init__(256, 256, **kwargs)
        transformer = TwoWayTransformer(depth=2, embedding_dim=256, mlp_dim=2048, num_heads=8)
        self.mask_decoder = MaskDecoder(transformer_dim=256, transformer=transformer)
        self.prompt_encoder = PromptEncoder(256, (grid, grid), (16 * grid, 16 * grid), mask_in_chans=16)
        self.mask_decoder.edge_token = nn.Embedding(1, 256)
        self.mask_decoder.edge_mlp = MLP(256, 256, 32, 3)
        self.mask_decoder.embedding_encoder = upscaling(256)
        self.mask_decoder.embedding_maskfeature = nn.Sequential(
            nn.ConvTranspose2d(32, 64, 3, padding=1),
            LayerNorm2d(64),
            nn.GELU(),
            nn.ConvTranspose2d(64, 32, 3, padding=1),
        )

    def decode(self, image):
        decoder = self.mask_decoder
        sparse, dense = self.prompt_encoder(points=None, boxes=None, masks=None)
        tokens = torch.cat([decoder.iou_token.weight, decoder.mask_tokens.weight, decoder.edge_token.weight])[None]
        tokens = torch.cat([tokens, sparse], dim=1)
        out, source = decoder.transformer(image + dense, self.prompt_encoder.get_dense_pe(), tokens)
        fine = decoder.output_upscaling(source.transpose(1, 2).reshape(image.shape))
        weights = torch.stack([mlp(out[:, 1 + i]) for i, mlp in enumerate(decoder.output_hypernetworks_mlps)], dim=1)
        masks = (weights @ fine.flatten(2)).unflatten(2, fine.shape[2:])
        decoder.iou_prediction_head(out[:, 0])
        features = decoder.embedding_maskfeature(fine) + decoder.embedding_encoder(image)
        edge = (decoder.edge_mlp(out[:, 5])[:, None] @ features.flatten(2)).unflatten(2, features.shape[2:])
        mask = masks[:, :1]
        return mask * edge.sigmoid() + mask

    def forward(self, inputs):
        return torch.cat([self.decode(image[None]) for image in inputs[-1]])
