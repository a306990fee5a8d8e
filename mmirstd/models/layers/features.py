"""What a backbone or neck hands on: a tuple of feature maps that can carry queries and early masks."""

from collections.abc import Iterable

from torch import Tensor, nn


class QueryFeatures(tuple):
    """Feature maps, fine to coarse, each (B, C, H, W), with what SimIR carries beside them as attributes.

    To any part of MMSegmentation it is the tuple of maps it expects. Slicing it, or a neck that does not know it,
    gives a plain tuple: read the attributes first.

    Attributes:
        queries: sparse queries (B, N, C), or None.
        early_mask: logits (B, 1, H, W) predicted after the encoder, or None.
        neck_mask: logits (B, 1, H, W) predicted after the FPN, or None.
    """

    queries: Tensor | None
    early_mask: Tensor | None
    neck_mask: Tensor | None

    def __new__(
        cls,
        maps: Iterable[Tensor],
        *,
        queries: Tensor | None = None,
        early_mask: Tensor | None = None,
        neck_mask: Tensor | None = None,
    ) -> 'QueryFeatures':
        """Make the tuple; every keyword becomes the attribute of its name."""
        self = super().__new__(cls, maps)
        self.queries, self.early_mask, self.neck_mask = queries, early_mask, neck_mask
        return self

    def __getnewargs_ex__(self) -> tuple[tuple, dict]:
        return (tuple(self),), dict(vars(self))


def require_widths(features: tuple[Tensor, ...], user: nn.Module) -> None:
    """See that maps (B, C_i, H_i, W_i) are as many and as wide as the `in_channels` of a neck.

    Raises:
        ValueError: if they are not; the class of `user` is named.
    """
    if (got := [x.shape[1] for x in features]) != user.in_channels:
        raise ValueError(f'{type(user).__name__} takes maps of {user.in_channels} channels, got {got}')


def require_queries(features: tuple[Tensor, ...], user: str) -> Tensor:
    """Return the queries (B, N, C) that `features` carries.

    Raises:
        ValueError: if there are none; `user` is named as the part that asked for them.
    """
    queries = getattr(features, 'queries', None)
    if queries is None:
        raise ValueError(
            f'{user} takes its queries from the features, but the backbone or neck before it gave a plain '
            f'{type(features).__name__} without queries. Put a QueryEncoder or QueryFPN before it, or let it learn '
            'its own (QuerySAMHead: query_source="learned"; QueryFPN: num_encoder_queries=0).'
        )
    return queries
