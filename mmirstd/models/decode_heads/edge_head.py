"""What heads have in common that also predict the edge of the targets."""

from mmseg.utils import SampleList
from torch import Tensor

from mmirstd.models.decode_heads.conv_head import ConvHead
from mmirstd.registry import MODELS


class EdgeHead(ConvHead):
    """A convolutional head that predicts an edge on the way to its mask, and is trained with both.

    Args:
        loss_edge: config of a BinaryLoss of the edge's logits and the mask; None is :class:`MaskGradientLoss`.
        kwargs: arguments of :class:`ConvHead`.
    """

    def __init__(self, *args: object, loss_edge: dict | None = None, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)
        self.loss_edge = MODELS.build(loss_edge or dict(type='mmirstd.MaskGradientLoss'))

    def forward_maps(self, inputs: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
        """Predict the logits of mask and edge, each (B, 1, H, W)."""
        raise NotImplementedError

    def forward(self, inputs: tuple[Tensor, ...]) -> Tensor:
        """Logits (B, 1, H, W) of the mask."""
        return self.forward_maps(inputs)[0]

    def loss(self, inputs: tuple[Tensor, ...], batch_data_samples: SampleList, train_cfg: dict) -> dict[str, Tensor]:
        """Compute the losses of the mask and, under its own name, that of the edge."""
        logits, edge = self.forward_maps(inputs)
        losses = self.loss_by_feat(logits, batch_data_samples)
        label = self._stack_batch_gt(batch_data_samples).squeeze(1)
        value = self.loss_edge(self._at_label_size(edge, label), label, ignore_index=self.ignore_index)
        losses[self.loss_edge.loss_name] = losses.get(self.loss_edge.loss_name, 0) + value
        return losses
