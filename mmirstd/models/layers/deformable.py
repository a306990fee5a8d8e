"""Deformable attention and convolution in plain torch: any size, any device, no compiled operator."""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmirstd.models.layers.attention import to_sequence


def grid_centers(height: int, width: int, *, device: torch.device, dtype: torch.dtype) -> Tensor:
    """Return the pixel centers (x, y) of a grid, in [0, 1]: (H * W, 2)."""
    y = (torch.arange(height, device=device, dtype=dtype) + 0.5) / height
    x = (torch.arange(width, device=device, dtype=dtype) + 0.5) / width
    return torch.stack(torch.meshgrid(x, y, indexing='xy'), dim=-1).flatten(0, 1)


class DeformableAttention(nn.Module):
    """Attention to a few learned points of every level (Zhu et al., Deformable DETR, ICLR 2021, Eq. 3).

    A query predicts, for each head, level and point, an offset from its reference in pixels of that level, and a
    weight; the weights of a head add up to 1 over levels and points. Values are read bilinearly, zero outside.

    Args:
        embed_dims: C, a multiple of `num_heads`.
        num_levels: L, number of value maps.
        num_heads: number of heads.
        num_points: points that a head reads on a level.

    Raises:
        ValueError: if C is not a multiple of `num_heads`.
    """

    def __init__(self, embed_dims: int, num_levels: int, num_heads: int = 8, num_points: int = 4) -> None:
        super().__init__()
        if embed_dims % num_heads:
            raise ValueError(f'DeformableAttention: {embed_dims=} is not a multiple of {num_heads=}')
        self.num_heads, self.num_levels, self.num_points = num_heads, num_levels, num_points
        self.sampling_offsets = nn.Linear(embed_dims, num_heads * num_levels * num_points * 2)
        self.attention_weights = nn.Linear(embed_dims, num_heads * num_levels * num_points)
        self.value_proj = nn.Linear(embed_dims, embed_dims)
        self.output_proj = nn.Linear(embed_dims, embed_dims)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Let the heads look in as many directions, their points at 1, 2, ... pixels, with equal weights."""
        for layer in self.children():
            nn.init.zeros_(layer.bias)
        nn.init.zeros_(self.sampling_offsets.weight)
        nn.init.zeros_(self.attention_weights.weight)
        nn.init.xavier_uniform_(self.value_proj.weight)
        nn.init.xavier_uniform_(self.output_proj.weight)
        angle = torch.arange(self.num_heads) * (2 * math.pi / self.num_heads)
        direction = torch.stack((angle.cos(), angle.sin()), dim=1)
        direction = direction / direction.abs().amax(1, keepdim=True)
        distance = torch.arange(1, self.num_points + 1)[:, None]
        offsets = (direction[:, None, None] * distance).expand(-1, self.num_levels, -1, -1)
        with torch.no_grad():
            self.sampling_offsets.bias.copy_(offsets.flatten())

    def forward(self, query: Tensor, reference: Tensor, maps: Sequence[Tensor]) -> Tensor:
        """Read the maps at what the queries ask for.

        Args:
            query: (B, N, C).
            reference: points (x, y) of the queries in [0, 1], (N, 2), float32 or float64.
            maps: value maps, one (B, C, h, w) for each level.

        Returns:
            (B, N, C).
        """
        shape = (self.num_heads, self.num_levels, self.num_points)
        weight = self.attention_weights(query).unflatten(2, (self.num_heads, -1)).softmax(-1).unflatten(3, shape[1:])
        # Half precision would round the points by a good part of a pixel.
        offset = self.sampling_offsets(query).unflatten(2, (*shape, 2)).to(reference.dtype)
        out = 0
        for level, values in enumerate(maps):
            size = offset.new_tensor([values.shape[3], values.shape[2]])
            points = (reference[:, None, None] + offset[:, :, :, level] / size) * 2 - 1
            values = self.value_proj(to_sequence(values)).transpose(1, 2)
            # Heads go into the batch: (B * heads, C / heads, h, w).
            values = values.reshape(-1, values.shape[1] // self.num_heads, *maps[level].shape[2:])
            read = F.grid_sample(
                values.to(points.dtype),
                points.transpose(1, 2).flatten(0, 1),
                mode='bilinear',
                padding_mode='zeros',
                align_corners=False,
            )
            share = weight[:, :, :, level].transpose(1, 2).flatten(0, 1)[:, None]
            out = out + (read.to(query.dtype) * share).sum(-1)
        out = out.unflatten(0, (query.shape[0], self.num_heads)).flatten(1, 2)
        return self.output_proj(out.transpose(1, 2))


def deformable_conv2d(x: Tensor, offset: Tensor, modulation: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Convolve at points that move from pixel to pixel, and weigh them (Zhu et al., DCN v2, CVPR 2019, Eq. 1).

    The kernel has odd sides, stride 1 and "same" padding. Values are read bilinearly, zero outside.

    Args:
        x: (B, C, H, W).
        offset: by how many pixels the points of the kernel, row by row, are moved down and right: (B, 2 K, H, W),
            both of the first point, both of the second, ...
        modulation: factors of the points, (B, K, H, W).
        weight: (C', C, kernel height, kernel width), K = kernel height * kernel width.
        bias: (C',), or None.

    Returns:
        (B, C', H, W).
    """
    height, width = x.shape[2:]
    rows, columns = weight.shape[2:]
    # Half precision would round the points by a good part of a pixel.
    wide = torch.promote_types(x.dtype, torch.float32)
    like = {'device': x.device, 'dtype': wide}
    down = torch.arange(height, **like)[:, None] + torch.arange(rows, **like).repeat_interleave(columns)[:, None, None]
    right = torch.arange(width, **like) + torch.arange(columns, **like).repeat(rows)[:, None, None]
    offset = offset.to(wide).unflatten(1, (rows * columns, 2))
    down = down - rows // 2 + offset[:, :, 0]
    right = right - columns // 2 + offset[:, :, 1]
    points = torch.stack(((2 * right + 1) / width - 1, (2 * down + 1) / height - 1), dim=-1)
    read = F.grid_sample(
        x.to(wide), points.flatten(1, 2), mode='bilinear', padding_mode='zeros', align_corners=False
    ).to(x.dtype)
    read = read.unflatten(2, (rows * columns, height)) * modulation[:, None]
    return F.conv2d(read.flatten(1, 2), weight.flatten(1)[..., None, None], bias)


class DeformableConv2d(nn.Module):
    """A convolution that predicts where it reads and how much each point counts; see :func:`deformable_conv2d`.

    At first it is a convolution whose points count a half.

    Args:
        in_channels: C.
        out_channels: C'.
        kernel_size: height and width of the kernel, odd numbers.

    Raises:
        ValueError: for even numbers.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: tuple[int, int] = (3, 3)) -> None:
        super().__init__()
        rows, columns = kernel_size
        if not rows % 2 or not columns % 2:
            raise ValueError(f'DeformableConv2d: {kernel_size=} must be odd')
        self.num_points = rows * columns
        padding = (rows // 2, columns // 2)
        self.where = nn.Conv2d(in_channels, 3 * self.num_points, kernel_size, padding=padding)
        self.weight = nn.Parameter(torch.empty(out_channels, in_channels, rows, columns))
        self.bias = nn.Parameter(torch.zeros(out_channels))
        bound = (in_channels * self.num_points) ** -0.5
        nn.init.uniform_(self.weight, -bound, bound)
        nn.init.zeros_(self.where.weight)
        nn.init.zeros_(self.where.bias)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to (B, C', H, W)."""
        offset, modulation = self.where(x).split((2 * self.num_points, self.num_points), dim=1)
        return deformable_conv2d(x, offset, modulation.sigmoid(), self.weight, self.bias)


class DeformableLayer(nn.Module):
    """One layer of Deformable DETR's encoder: deformable attention among all positions of all maps, then an FFN.

    Args:
        embed_dims: C.
        num_levels: number of maps.
        num_heads: heads of the attention.
        num_points: points that a head reads on a level.
        feedforward_channels: hidden width of the FFN.
        dropout: dropout of hidden units and residual branches.
    """

    def __init__(
        self,
        embed_dims: int,
        num_levels: int,
        num_heads: int = 8,
        num_points: int = 4,
        feedforward_channels: int = 2048,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.attention = DeformableAttention(embed_dims, num_levels, num_heads, num_points)
        self.ffn = nn.Sequential(
            nn.Linear(embed_dims, feedforward_channels),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(feedforward_channels, embed_dims),
        )
        self.dropout = nn.Dropout(dropout)
        self.norms = nn.ModuleList(nn.LayerNorm(embed_dims) for _ in range(2))
        self.level_embed = nn.Parameter(torch.randn(num_levels, embed_dims))
        for layer in (self.ffn[0], self.ffn[3]):
            nn.init.xavier_uniform_(layer.weight)

    def forward(self, maps: Sequence[Tensor], positions: Sequence[Tensor]) -> list[Tensor]:
        """Update the maps.

        Args:
            maps: one (B, C, h, w) for each level.
            positions: position encodings of the maps, each (1, h * w, C).

        Returns:
            maps of the same shapes.
        """
        x = torch.cat([to_sequence(m) for m in maps], dim=1)
        embed = [p + e for p, e in zip(positions, self.level_embed, strict=True)]
        like = {'device': x.device, 'dtype': torch.promote_types(x.dtype, torch.float32)}
        reference = torch.cat([grid_centers(*m.shape[2:], **like) for m in maps])
        attended = self.attention(x + torch.cat(embed, dim=1), reference, maps)
        x = self.norms[0](x + self.dropout(attended))
        x = self.norms[1](x + self.dropout(self.ffn(x)))
        parts = x.split([m.shape[2] * m.shape[3] for m in maps], dim=1)
        return [p.transpose(1, 2).unflatten(2, m.shape[2:]) for p, m in zip(parts, maps, strict=True)]
