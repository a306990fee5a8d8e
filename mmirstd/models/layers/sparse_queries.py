"""SimIR's sparse queries of the encoder: a few vectors (Zhang et al., ACM MM 2024, Sec. 3)."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from mmirstd.models.layers.attention import QueryInteraction
from mmirstd.models.layers.dense_queries import projection
from mmirstd.models.layers.position import sine_position


class SparseQueries(nn.Module):
    """Sparse queries with one set of exchange weights for all places of a backbone.

    Args:
        widths: width of the features at each place.
        embed_dims: C, width of the queries.
        num_queries: N.
        num_heads: heads of the attentions.
        feedforward_channels: hidden width of the queries' feed-forward network.
        dropout: dropout of the exchange.
        norm_cfg: norm of the projections.
        act_cfg: their activation.
    """

    def __init__(
        self,
        widths: Sequence[int],
        embed_dims: int,
        num_queries: int,
        num_heads: int,
        feedforward_channels: int,
        dropout: float,
        norm_cfg: dict,
        act_cfg: dict,
    ) -> None:
        super().__init__()
        self.queries = nn.Parameter(torch.randn(1, num_queries, embed_dims))
        self.query_pos = nn.Parameter(torch.randn(1, num_queries, embed_dims))
        # One for all places: the released code has four and adds the first everywhere.
        self.level_embed = nn.Parameter(torch.randn(embed_dims))
        self.project_in = nn.ModuleList(projection(width, embed_dims, norm_cfg, act_cfg) for width in widths)
        self.interaction = QueryInteraction(embed_dims, num_heads, feedforward_channels, dropout)
        self.project_out = nn.ModuleList(projection(embed_dims, width, norm_cfg, act_cfg) for width in widths)

    def exchange(self, index: int, queries: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        """Exchange at one place.

        Args:
            index: number of the place.
            queries: (B, N, C).
            x: features there (B, width, h, w).

        Returns:
            queries as the exchange leaves them, and what is to be added to `x`.
        """
        feature = self.project_in[index](x) + self.level_embed[:, None, None]
        pos = sine_position(*x.shape[2:], feature.shape[1], device=x.device, dtype=feature.dtype)
        queries, feature = self.interaction(queries, self.query_pos, feature, pos)
        return queries, self.project_out[index](feature)
