"""Attention over a map with decomposed relative positions (Li et al., MViTv2, CVPR 2022, Sec. 3), as in SAM's encoder.

The bias of query (i, j) and key (k, l) is ``q . rows[i - k] + q . columns[j - l]``.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from mmirstd.models.layers.resizing import is_open

# Elements of the largest bias that is held at once: 64 MiB in float32.
MAX_BIAS = 2**24


def resize_table(table: Tensor, length: int) -> Tensor:
    """Interpolate a table (L, C) of relative positions linearly to (length, C)."""
    if not is_open(length) and len(table) == length:
        return table
    return F.interpolate(table.T[None], size=length, mode='linear')[0].T


def relative_embeddings(table: Tensor, size: int) -> Tensor:
    """Embeddings (size, size, C) of query i and key k, `table`'s at ``i - k``; interpolated from another size's."""
    position = torch.arange(size, device=table.device)
    return resize_table(table, 2 * size - 1)[position[:, None] - position + size - 1]


def relative_attention(q: Tensor, k: Tensor, v: Tensor, rows: Tensor, columns: Tensor, size: tuple[int, int]) -> Tensor:
    """Attend within a map; q, k, v and the result are (B, heads, H * W, C).

    The bias of N = H * W positions has heads * N * N elements. Up to ``MAX_BIAS`` it is one mask. Beyond, without
    gradients, it is made for some rows of queries at a time; with gradients, which would keep all of it, it is left to
    the dot product: rows and columns of the bias are further channels of the queries, and of the keys the one-hot
    codes of their row and column. All three are the same sum.

    Args:
        q: queries.
        k: keys.
        v: values.
        rows: table (L, C) of relative rows.
        columns: table (L, C) of relative columns.
        size: (H, W).
    """
    height, width = size
    channels, count = q.shape[-1], height * width
    grid = q.unflatten(2, size)
    row_bias = torch.einsum('bnhwc,hkc->bnhwk', grid, relative_embeddings(rows, height)).contiguous()
    column_bias = torch.einsum('bnhwc,wkc->bnhwk', grid, relative_embeddings(columns, width)).contiguous()

    # Where sizes are open, the bias is one mask: an exported graph holds all scores of an attention anyway.
    elements = 0 if is_open(q.shape[0], *size) else q.shape[0] * q.shape[1] * count * count
    if elements > MAX_BIAS and torch.is_grad_enabled() and q.requires_grad:
        codes = [torch.eye(n, dtype=k.dtype, device=k.device) for n in size]
        code = torch.cat((codes[0].repeat_interleave(width, 0), codes[1].repeat(height, 1)), -1)
        q = torch.cat((q * channels**-0.5, row_bias.flatten(2, 3), column_bias.flatten(2, 3)), -1)
        k = torch.cat((k, code.expand(*k.shape[:2], -1, -1)), -1)
        # Fused kernels want equal widths, in multiples of 8.
        extra = height + width + -(channels + height + width) % 8
        q, k = (F.pad(t, (0, channels + extra - t.shape[-1])) for t in (q, k))
        x = F.scaled_dot_product_attention(q, k, F.pad(v, (0, extra)), scale=1.0)
        return x[..., :channels]

    def attend(rows: slice, queries: Tensor) -> Tensor:
        bias = row_bias[:, :, rows, :, :, None] + column_bias[:, :, rows, :, None, :]
        return F.scaled_dot_product_attention(queries, k, v, attn_mask=bias.flatten(4).flatten(2, 3))

    if elements <= MAX_BIAS:
        return attend(slice(None), q)
    step = max(1, height * MAX_BIAS // elements)
    parts = [attend(slice(i, i + step), q[:, :, i * width : (i + step) * width]) for i in range(0, height, step)]
    return torch.cat(parts, 2)
