"""Low-rank adaptation of linear layers (Hu et al., LoRA, ICLR 2022, arXiv:2106.09685)."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class LowRankLinear(nn.Linear):
    """Linear layer with a frozen weight W and a trained update of rank r: ``W + alpha / r * B A`` per adapted part.

    A fused projection (qkv) is `num_parts` layers in one, of which those in `parts` are adapted. B starts at zero, so
    the layer starts as it was. ``weight`` and ``bias`` have the names of ``nn.Linear``: its state dict loads, the
    factors ``lora_a`` (len(parts), r, in) and ``lora_b`` (len(parts), out / num_parts, r) stay as they are.

    Args:
        in_features: width of the input.
        out_features: width of the output, of all parts together.
        rank: r.
        alpha: scale of the update times r; None is r, the scale 1.
        num_parts: equal parts of the output.
        parts: the adapted ones.
        bias: as in ``nn.Linear``.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        rank: int,
        alpha: float | None = None,
        num_parts: int = 1,
        parts: Sequence[int] = (0,),
        bias: bool = True,
    ) -> None:
        super().__init__(in_features, out_features, bias)
        if out_features % num_parts or not set(parts) <= set(range(num_parts)) or not parts or rank < 1:
            raise ValueError(f'LowRankLinear: {out_features=} {num_parts=} {parts=} {rank=} do not go together')
        self.num_parts, self.parts = num_parts, tuple(sorted(set(parts)))
        self.scale = (rank if alpha is None else alpha) / rank
        self.weight.requires_grad_(False)
        if bias:
            self.bias.requires_grad_(False)
        self.lora_a = nn.Parameter(torch.empty(len(self.parts), rank, in_features))
        self.lora_b = nn.Parameter(torch.zeros(len(self.parts), out_features // num_parts, rank))
        nn.init.normal_(self.lora_a, std=in_features**-0.5)

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., in_features) to (..., out_features)."""
        y = super().forward(x)
        if self.lora_a is None:
            return y
        a, b = self._whole()
        return y + self.scale * F.linear(F.linear(x, a), b)

    def factors(self) -> list[nn.Parameter]:
        """What is trained: A and B, or nothing once they are merged."""
        return [] if self.lora_a is None else [self.lora_a, self.lora_b]

    def _whole(self) -> tuple[Tensor, Tensor]:
        """A (len(parts) * r, in) and B (out, len(parts) * r) of the whole layer."""
        count, width, rank = self.lora_b.shape
        b = self.lora_b.new_zeros(self.num_parts, width, count, rank)
        b[list(self.parts), :, range(count)] = self.lora_b
        return self.lora_a.flatten(0, 1), b.flatten(2).flatten(0, 1)

    @torch.no_grad()
    def switch_to_deploy(self) -> int:
        """Add the update to the weight, in float64, and drop the factors; returns 0 when that was done before."""
        if self.lora_a is None:
            return 0
        # On the CPU because some accelerators have no float64.
        a, b, weight = (m.to('cpu', torch.float64) for m in (*self._whole(), self.weight))
        self.weight.copy_(weight + self.scale * b @ a)
        self.lora_a = self.lora_b = None
        return 1
