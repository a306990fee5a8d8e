"""The loss on held-out images, as a metric by which the best checkpoint is chosen."""

import math
from collections.abc import Sequence

from mmengine.evaluator import BaseMetric

from mmirstd.registry import METRICS
from mmirstd.utils.errors import UserError

TOTAL = 'held_out_loss'


class NonFiniteLossError(UserError, ValueError):
    """A loss on held-out images is NaN or infinite."""


@METRICS.register_module()
class HeldOutLossMetric(BaseMetric):
    """Mean over the samples of each loss that a distiller sets as ``distill_losses``, and of their sum.

    The sum is ``held_out_loss``: ``save_best='held_out_loss', rule='less'``. The losses themselves are
    ``held_out/NAME``.

    Args:
        collect_device: Where results of several processes meet, ``'cpu'`` or ``'gpu'``.
        prefix: Put before each name.

    Raises:
        ValueError: If a sample has no losses.
        NonFiniteLossError: If a loss is NaN or infinite.
    """

    default_prefix = ''

    def __init__(self, collect_device: str = 'cpu', prefix: str | None = None) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix)

    def directions(self) -> dict[str, str]:
        """The sum is better when it is less."""
        return {f'{self.prefix}/{TOTAL}' if self.prefix else TOTAL: 'less'}

    def process(self, data_batch: object, data_samples: Sequence[dict]) -> None:
        """Take the losses of a batch."""
        for sample in data_samples:
            losses = sample.get('distill_losses')
            if not losses:
                raise ValueError('HeldOutLossMetric: a sample without distill_losses; it goes with a distiller')
            if wrong := [name for name, value in losses.items() if not math.isfinite(value)]:
                raise NonFiniteLossError(f'{sample.get("img_path", "a sample")}: {", ".join(wrong)} is not finite')
            self.results.append(losses)

    def compute_metrics(self, results: list[dict[str, float]]) -> dict[str, float]:
        """Average."""
        means = {name: sum(r[name] for r in results) / len(results) for name in results[0]}
        return {TOTAL: sum(means.values())} | {f'held_out/{name}': value for name, value in means.items()}
