"""Attention between a few queries and many image positions: SimIR's interaction and SAM's two-way transformer.

Everything is linear in the number of image positions: one side of each attention is a handful of queries. Parameters
of the two-way transformer are named as in segment-anything, so that its checkpoints load as they are.
"""

import itertools
from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor, nn


def to_sequence(x: Tensor) -> Tensor:
    """Turn a map (B, C, H, W) into a contiguous (B, H * W, C), with a gradient of ordinary strides.

    Sums and layer norms of transposed views take several times as long on a CPU. Layer norm's gradient, transposed
    back, has strides at B = 1 with which batch norm's backward on a CPU goes wrong without a word (PyTorch 2.13).
    """
    if x.requires_grad:
        x = x.view_as(x)
        x.register_hook(Tensor.contiguous)
    return x.flatten(2).transpose(1, 2).contiguous()


class MLP(nn.Module):
    """`num_layers` linear layers with an activation between them, on the last axis."""

    def __init__(
        self,
        in_channels: int,
        hidden_channels: int,
        out_channels: int,
        num_layers: int,
        activation: Callable[[Tensor], Tensor] = F.relu,
    ) -> None:
        super().__init__()
        self.activation = activation
        widths = [in_channels, *[hidden_channels] * (num_layers - 1), out_channels]
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in itertools.pairwise(widths))

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., in_channels) to (..., out_channels)."""
        for layer in self.layers[:-1]:
            x = self.activation(layer(x))
        return self.layers[-1](x)


class LayerNorm2d(nn.LayerNorm):
    """Layer norm over the channels of (B, C, H, W)."""

    def forward(self, x: Tensor) -> Tensor:
        """Normalize each position's channel vector."""
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class Attention(nn.Module):
    """Multi-head attention whose inner width may be smaller than that of its inputs (SAM, `downsample_rate`).

    Where one side of it is a handful of tokens and the other every position of a map, :meth:`few_queries` and
    :meth:`few_keys` compute the same with less work: the projections of the long side move to the short one. A
    position then costs `heads * tokens * C` multiply-adds instead of `C * inner`, and no projected copy of the map is
    kept for the backward pass.

    Args:
        embed_dims: C, width of all inputs and of the output.
        num_heads: number of heads.
        downsample_rate: C divided by the inner width.
        dropout: dropout of the attention weights.

    Raises:
        ValueError: if the inner width is not a multiple of `num_heads`.
    """

    def __init__(self, embed_dims: int, num_heads: int, downsample_rate: int = 1, dropout: float = 0.0) -> None:
        super().__init__()
        inner = embed_dims // downsample_rate
        if inner % num_heads:
            raise ValueError(f'{embed_dims=} // {downsample_rate=} is not a multiple of {num_heads=}')
        self.num_heads = num_heads
        self.dropout = dropout
        self.q_proj = nn.Linear(embed_dims, inner)
        self.k_proj = nn.Linear(embed_dims, inner)
        self.v_proj = nn.Linear(embed_dims, inner)
        self.out_proj = nn.Linear(inner, embed_dims)

    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Attend from q (B, Nq, C) to k and v (B, Nk, C); returns (B, Nq, C)."""
        q, k, v = (self._heads(x) for x in (self.q_proj(q), self.k_proj(k), self.v_proj(v)))
        x = F.scaled_dot_product_attention(q, k, v, dropout_p=self.dropout if self.training else 0.0)
        return self.out_proj(x.transpose(1, 2).flatten(2))

    def few_queries(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Do as :meth:`forward` where q has few tokens: keys and values stay unprojected."""
        if q.shape[1] * self.num_heads >= self.q_proj.out_features:
            return self(q, k, v)
        q = self._heads(self.q_proj(q))
        # It adds the same to all scores of a query, which softmax takes out; but distributed training wants it used.
        bias = (q @ self.k_proj.bias.view(self.num_heads, -1, 1)).flatten(1, 2)
        q = (q @ self._per_head(self.k_proj.weight)).flatten(1, 2)
        weight = self._softmax(q @ k.transpose(1, 2) + bias, dim=2)
        x = (weight @ v).unflatten(1, (self.num_heads, -1)) @ self._per_head(self.v_proj.weight).transpose(1, 2)
        bias = self.v_proj.bias.view(self.num_heads, 1, -1)
        # Weights add up to 1 but where dropout thins them.
        x = x + weight.sum(2).unflatten(1, (self.num_heads, -1, 1)) * bias
        return self.out_proj(x.transpose(1, 2).flatten(2))

    def few_keys(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Do as :meth:`forward` where k and v have few tokens: queries and output stay unprojected."""
        if k.shape[1] * self.num_heads >= self.q_proj.out_features:
            return self(q, k, v)
        k, v = self._heads(self.k_proj(k)), self._heads(self.v_proj(v))
        bias = k @ self.q_proj.bias.view(self.num_heads, -1, 1)
        score = (k @ self._per_head(self.q_proj.weight)).flatten(1, 2) @ q.transpose(1, 2)
        # Positions come last: softmax over a last axis of a few tokens is slow on a CPU.
        weight = self._softmax(score.unflatten(1, (self.num_heads, -1)) + bias, dim=2).flatten(1, 2)
        out = (v @ self.out_proj.weight.t().view(self.num_heads, -1, q.shape[2])).flatten(1, 2)
        return weight.transpose(1, 2) @ out + self.out_proj.bias

    def _heads(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.num_heads, -1)).transpose(1, 2)

    def _per_head(self, weight: Tensor) -> Tensor:
        return weight.view(self.num_heads, -1, weight.shape[1])

    def _softmax(self, score: Tensor, dim: int) -> Tensor:
        scale = (self.q_proj.out_features // self.num_heads) ** -0.5
        return F.dropout((score * scale).softmax(dim), self.dropout, self.training)


class QueryInteraction(nn.Module):
    """One exchange between sparse queries and a feature map, as SimIR makes at every stage and pyramid level.

    The queries attend to the features, pass a feed-forward network, attend to each other; then the features attend to
    the queries. Post-norm residual steps throughout.

    Args:
        embed_dims: C, width of queries and features.
        num_heads: heads of the attentions.
        feedforward_channels: hidden width of the feed-forward network.
        dropout: dropout of attention weights, hidden units and residual branches.
    """

    def __init__(
        self, embed_dims: int = 256, num_heads: int = 8, feedforward_channels: int = 2048, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.query_to_feature = Attention(embed_dims, num_heads, dropout=dropout)
        self.ffn = nn.Sequential(
            nn.Linear(embed_dims, feedforward_channels),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(feedforward_channels, embed_dims),
        )
        self.query_self = Attention(embed_dims, num_heads, dropout=dropout)
        self.feature_to_query = Attention(embed_dims, num_heads, dropout=dropout)
        self.dropout = nn.Dropout(dropout)
        self.norms = nn.ModuleList(nn.LayerNorm(embed_dims) for _ in range(4))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the weights as the released code does: Xavier's, torch's MultiheadAttention's in the attentions."""
        for layer in (self.ffn[0], self.ffn[3]):
            nn.init.xavier_uniform_(layer.weight)
        for attention in (self.query_to_feature, self.query_self, self.feature_to_query):
            for name, layer in attention.named_children():
                # MultiheadAttention draws the three input projections as one matrix of 3 C rows.
                nn.init.xavier_uniform_(layer.weight, 1.0 if name == 'out_proj' else 0.5**0.5)
                nn.init.zeros_(layer.bias)

    def forward(
        self, queries: Tensor, query_pos: Tensor, feature: Tensor, feature_pos: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Update both sides.

        Args:
            queries: (B, N, C).
            query_pos: learned position embeddings, broadcastable to `queries`.
            feature: (B, C, H, W).
            feature_pos: position encoding, broadcastable to (B, H * W, C).

        Returns:
            queries (B, N, C) and feature (B, C, H, W).
        """
        x = to_sequence(feature)
        key = x + feature_pos
        attended = self.query_to_feature.few_queries(queries + query_pos, key, x)
        queries = self.norms[0](queries + self.dropout(attended))
        queries = self.norms[1](queries + self.dropout(self.ffn(queries)))
        q = queries + query_pos
        queries = self.norms[2](queries + self.dropout(self.query_self(q, q, queries)))
        attended = self.feature_to_query.few_keys(key, queries + query_pos, queries)
        x = self.norms[3](x + self.dropout(attended))
        return queries, x.transpose(1, 2).unflatten(2, feature.shape[2:])


class TwoWayBlock(nn.Module):
    """One layer of SAM's two-way transformer: token self-attention, token to image, MLP, image to token."""

    activation = staticmethod(F.relu)

    def __init__(
        self,
        embed_dims: int,
        num_heads: int,
        feedforward_channels: int,
        downsample_rate: int = 2,
        skip_first_pe: bool = False,
    ) -> None:
        super().__init__()
        self.self_attn = Attention(embed_dims, num_heads)
        self.cross_attn_token_to_image = Attention(embed_dims, num_heads, downsample_rate)
        self.cross_attn_image_to_token = Attention(embed_dims, num_heads, downsample_rate)
        self.mlp = nn.ModuleDict(
            {'lin1': nn.Linear(embed_dims, feedforward_channels), 'lin2': nn.Linear(feedforward_channels, embed_dims)}
        )
        self.norm1, self.norm2, self.norm3, self.norm4 = (nn.LayerNorm(embed_dims) for _ in range(4))
        self.skip_first_pe = skip_first_pe

    def attend_self(self, tokens: Tensor, token_pe: Tensor) -> Tensor:
        """Update tokens (B, N, C)."""
        if self.skip_first_pe:
            return self.self_attn(tokens, tokens, tokens)
        q = tokens + token_pe
        return tokens + self.self_attn(q, q, tokens)

    def forward(self, tokens: Tensor, image: Tensor, token_pe: Tensor, image_pe: Tensor) -> tuple[Tensor, Tensor]:
        """Update tokens (B, N, C) and image (B, H * W, C); the encodings have the same shapes."""
        tokens = self.norm1(self.attend_self(tokens, token_pe))
        keyed = image + image_pe
        tokens = self.norm2(tokens + self.cross_attn_token_to_image.few_queries(tokens + token_pe, keyed, image))
        tokens = self.norm3(tokens + self.mlp['lin2'](self.activation(self.mlp['lin1'](tokens))))
        image = self.norm4(image + self.cross_attn_image_to_token.few_keys(keyed, tokens + token_pe, tokens))
        return tokens, image


class TwoWayTransformer(nn.Module):
    """SAM's two-way transformer (Kirillov et al., Segment Anything, ICCV 2023, Fig. 14).

    Args:
        depth: number of layers.
        embed_dims: width C of tokens and image.
        num_heads: heads of every attention.
        feedforward_channels: hidden width of the token MLPs.
        downsample_rate: C divided by the inner width of the attentions between tokens and image.
        block: class of the layers.
    """

    def __init__(
        self,
        depth: int = 2,
        embed_dims: int = 256,
        num_heads: int = 8,
        feedforward_channels: int = 2048,
        downsample_rate: int = 2,
        block: type[TwoWayBlock] = TwoWayBlock,
    ) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            block(embed_dims, num_heads, feedforward_channels, downsample_rate, skip_first_pe=i == 0)
            for i in range(depth)
        )
        self.final_attn_token_to_image = Attention(embed_dims, num_heads, downsample_rate)
        self.norm_final_attn = nn.LayerNorm(embed_dims)

    def forward(
        self, image: Tensor, image_pe: Tensor, tokens: Tensor, token_pe: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Let tokens and image look at each other.

        Args:
            image: (B, C, H, W).
            image_pe: position encoding, broadcastable to (B, H * W, C).
            tokens: (B, N, C).
            token_pe: their position encoding, broadcastable to them; None takes the tokens themselves, as SAM does.

        Returns:
            tokens (B, N, C) and image (B, C, H, W).
        """
        size = image.shape[2:]
        x = to_sequence(image)
        token_pe = tokens if token_pe is None else token_pe
        for layer in self.layers:
            tokens, x = layer(tokens, x, token_pe, image_pe)
        attended = self.final_attn_token_to_image.few_queries(tokens + token_pe, x + image_pe, x)
        tokens = self.norm_final_attn(tokens + attended)
        return tokens, x.transpose(1, 2).unflatten(2, size)
