"""IAANet (Wang et al., TGRS 2022): coarse boxes, and attention among all pixels inside them.

The facts are those of kwwcv/iaanet at ff97767 (MIT).
"""

import math

import numpy as np
import torch
import torch.nn.functional as F
from mmengine.logging import MessageHub
from mmengine.model import BaseModule
from mmseg.utils import SampleList
from torch import Tensor, nn

from mmirstd.models.decode_heads.binary_head import BinaryHead
from mmirstd.models.layers.attention import MLP, Attention
from mmirstd.models.layers.no_graph import refuse_export
from mmirstd.models.layers.position import sine_position
from mmirstd.models.layers.residual import ConvBNReLU
from mmirstd.ops.components import label_components
from mmirstd.registry import MODELS


@MODELS.register_module()
class InteriorEncoder(BaseModule):
    """The image beside a backbone's last map, which boxes are predicted from.

    Args:
        proposals: config of the backbone.
        init_cfg: MMEngine's initialization.
    """

    def __init__(self, proposals: dict, init_cfg: dict | list[dict] | None = None) -> None:
        super().__init__(init_cfg)
        self.proposals = MODELS.build(proposals)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(B, C, H, W) to the same and the last map of the backbone."""
        return x, self.proposals(x)[-1]


class InteriorLayer(nn.Module):
    """A transformer layer whose queries and keys also carry positions (Carion et al., DETR, ECCV 2020)."""

    def __init__(self, embed_dims: int, num_heads: int, feedforward_channels: int, dropout: float) -> None:
        super().__init__()
        self.attention = Attention(embed_dims, num_heads, dropout=dropout)
        self.ffn = nn.Sequential(
            nn.Linear(embed_dims, feedforward_channels),
            nn.ReLU(inplace=True),
            nn.Dropout(dropout),
            nn.Linear(feedforward_channels, embed_dims),
        )
        self.norms = nn.ModuleList(nn.LayerNorm(embed_dims) for _ in range(2))
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, position: Tensor) -> Tensor:
        """Tokens (B, N, C) and their positions (1, N, C) to tokens."""
        placed = x + position
        x = self.norms[0](x + self.dropout(self.attention(placed, placed, x)))
        return self.norms[1](x + self.dropout(self.ffn(x)))


def complete_iou(box: Tensor, target: Tensor, eps: float = 1e-7) -> Tensor:
    """IoU less the distance of the centers and the difference in shape (Zheng et al., AAAI 2020, Eq. 7 and 9).

    Args:
        box: center x, center y, width, height: (N, 4).
        target: the same of the other boxes.
        eps: added to sizes and denominators.

    Returns:
        (N,).
    """
    corners = [torch.cat((x[:, :2] - x[:, 2:] / 2, x[:, :2] + x[:, 2:] / 2), dim=1) for x in (box, target)]
    low = torch.maximum(corners[0][:, :2], corners[1][:, :2])
    high = torch.minimum(corners[0][:, 2:], corners[1][:, 2:])
    overlap = (high - low).clamp(min=0).prod(1)
    (w1, h1), (w2, h2) = ((x[:, 2], x[:, 3] + eps) for x in (box, target))
    iou = overlap / (w1 * h1 + w2 * h2 - overlap + eps)
    hull = torch.maximum(corners[0][:, 2:], corners[1][:, 2:]) - torch.minimum(corners[0][:, :2], corners[1][:, :2])
    distance = (box[:, :2] - target[:, :2]).square().sum(1) / (hull.square().sum(1) + eps)
    shape = 4 / math.pi**2 * ((w2 / h2).atan() - (w1 / h1).atan()).square()
    with torch.no_grad():
        weight = shape / (shape - iou + 1 + eps)
    return iou - distance - weight * shape


def suppress_overlaps(boxes: np.ndarray, scores: np.ndarray, max_iou: float) -> np.ndarray:
    """Indices of boxes (N, 4), left, top, right, bottom, the best first, without those that overlap a better one."""
    order = np.argsort(-scores, kind='stable')
    area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    kept = []
    while order.size:
        best, order = order[0], order[1:]
        kept.append(best)
        low, high = np.maximum(boxes[best, :2], boxes[order, :2]), np.minimum(boxes[best, 2:], boxes[order, 2:])
        overlap = (high - low).clip(min=0).prod(1)
        # A box without an area overlaps nothing.
        order = order[overlap <= max_iou * (area[best] + area[order] - overlap)]
    return np.array(kept, np.int64)


@MODELS.register_module()
class InteriorAttentionHead(BinaryHead):
    """Predicts boxes, and by a transformer the mask of the pixels inside. Outside it is never a target.

    Features of pixels come from 3x3 convolutions at the size of the image. At test time they see crops around the boxes
    alone, whose margins are as wide as they reach: features inside a box are those that the whole image gives. In
    training random boxes fill up those that were found. Boxes to train with are those of the labels, larger by a
    margin. This head has no graph to export: boxes are suppressed one after the other, and the attention runs once an
    image, on as many pixels as lie in the boxes that are left.

    Args:
        in_channels: channels of the image, and of the map that boxes are predicted from.
        pixel_channels: widths of the convolutions.
        embed_dims: width of the features of a pixel, a multiple of 4.
        crop_margin: pixels around a box that its crop has beside it; None: the whole image is convolved.
        num_layers: layers of the transformer.
        num_heads: heads of its attentions.
        feedforward_channels: hidden width of its feed-forward networks.
        dropout: its dropout.
        stride: pixels between two cells of the map that boxes are predicted from.
        anchor: side of a box of average size, in pixels.
        min_score: a box needs more, where any box has.
        max_iou: a box that overlaps a better one by more is left out.
        num_weak: boxes that are taken where none has that score.
        num_train: boxes that are taken in training.
        margin: pixels around a target that belong to its box.
        object_weight: weight of cells with a target in the loss of the score.
        box_weight: factor of the loss of the box.
        warmup_iters: in so many first iterations the boxes are trained alone.
        outside_logit: logit of what is in no box.
        kwargs: arguments of :class:`BinaryHead`.

    Raises:
        ValueError: if the margin is narrower than the convolutions reach.
    """

    def __init__(
        self,
        in_channels: tuple[int, int] = (1, 256),
        pixel_channels: tuple[int, ...] = (64, 128, 256, 512, 512, 512),
        embed_dims: int = 512,
        crop_margin: int | None = 8,
        num_layers: int = 4,
        num_heads: int = 4,
        feedforward_channels: int = 1024,
        dropout: float = 0.1,
        stride: int = 16,
        anchor: float = 10.0,
        min_score: float = 0.2,
        max_iou: float = 0.6,
        num_weak: int = 5,
        num_train: int = 5,
        margin: int = 4,
        object_weight: float = 10.0,
        box_weight: float = 0.5,
        warmup_iters: int = 0,
        outside_logit: float = -20.0,
        **kwargs: object,
    ) -> None:
        image_channels, wide = in_channels
        if crop_margin is not None and crop_margin < len(pixel_channels):
            raise ValueError(
                f'InteriorAttentionHead: crop_margin={crop_margin}, but {len(pixel_channels)} convolutions of 3x3 '
                'reach as many pixels'
            )
        super().__init__(list(in_channels), embed_dims, in_index=[0, 1], input_transform='multiple_select', **kwargs)
        self.stride, self.anchor, self.min_score, self.max_iou = stride, anchor, min_score, max_iou
        self.num_weak, self.num_train, self.margin = num_weak, num_train, margin
        self.object_weight, self.box_weight, self.warmup_iters = object_weight, box_weight, warmup_iters
        self.outside_logit, self.crop_margin = outside_logit, crop_margin
        widths = zip([image_channels, *pixel_channels[:-1]], pixel_channels, strict=True)
        self.pixels = nn.Sequential(
            *(ConvBNReLU(a, b) for a, b in widths), nn.Conv2d(pixel_channels[-1], embed_dims, 1, bias=False)
        )
        self.detect = nn.Conv2d(wide, 5, 1)
        self.layers = nn.ModuleList(
            InteriorLayer(embed_dims, num_heads, feedforward_channels, dropout) for _ in range(num_layers)
        )
        self.classify = MLP(embed_dims, embed_dims, 1, 3)
        for layer in (*self.layers, self.classify):
            for parameter in layer.parameters():
                if parameter.dim() > 1:
                    nn.init.xavier_uniform_(parameter)

    def boxes(self, raw: Tensor, height: int, width: int) -> list[list[list[int]]]:
        """Boxes (left, top, right, bottom) of each image, in whole pixels, from what `detect` gives, (B, 5, h, w)."""
        wide = torch.promote_types(raw.dtype, torch.float32)
        found = raw.detach().to(wide).sigmoid().cpu().numpy()
        cells = np.stack(np.meshgrid(np.arange(raw.shape[3]), np.arange(raw.shape[2])))
        centers = (found[:, :2] * 2 - 0.5 + cells) * self.stride
        sizes = (found[:, 2:4] * 2) ** 2 * self.anchor
        bound = np.array([width, height])[:, None, None]
        corners = np.concatenate([(centers - sizes / 2).clip(0, bound), (centers + sizes / 2).clip(0, bound)], axis=1)
        flat = corners.reshape(len(raw), 4, -1).transpose(0, 2, 1)
        return [
            self._choose(boxes, scores, height, width)
            for boxes, scores in zip(flat, found[:, 4].reshape(len(raw), -1), strict=True)
        ]

    def _choose(self, boxes: np.ndarray, scores: np.ndarray, height: int, width: int) -> list[list[int]]:
        sure = scores > self.min_score
        candidates = np.flatnonzero(sure if sure.any() else scores > 0)
        kept = candidates[suppress_overlaps(boxes[candidates], scores[candidates], self.max_iou)]
        kept = kept[((boxes[kept, 2:] - boxes[kept, :2]) >= 1).all(1)]
        kept = kept[: None if sure.any() else self.num_weak]
        boxes, scores = boxes[kept], scores[kept]
        if self.training:
            boxes = boxes[: self.num_train]
            if missing := self.num_train - len(boxes):
                # Sides of 2 to 16 pixels; of more, the more boxes were found, as in the public code.
                halves = torch.randint(min(max(len(boxes), 1), 8), 9, (missing, 2)).numpy()
                room = np.array([width, height])
                low = np.minimum(8, room // 2)
                center = low + (torch.rand(missing, 2).numpy() * (room - 2 * low + 1)).astype(int)
                drawn = np.concatenate([(center - halves).clip(0), np.minimum(center + halves, room)], axis=1)
                boxes = np.concatenate([boxes, drawn])
                scores = np.concatenate([scores, np.full(missing, 0.5)])
                boxes = boxes[suppress_overlaps(boxes, scores, self.max_iou)]
        return (boxes + 0.5).astype(int).tolist()

    def segment(self, image: Tensor, boxes: list[list[list[int]]]) -> tuple[Tensor, Tensor]:
        """Logits (B, 1, H, W) of images (B, C, H, W), and bool (B, H, W) of what is in a box."""
        batch, _, height, width = image.shape
        inside = torch.zeros(batch, height, width, dtype=torch.bool)
        for mask, found in zip(inside, boxes, strict=True):
            for left, top, right, bottom in found:
                mask[top:bottom, left:right] = True
        inside = inside.to(image.device)
        positions = sine_position(height, width, self.channels, device=image.device, dtype=image.dtype)
        logits = []
        for tokens, mask in zip(self._tokens(image, boxes, inside), inside, strict=True):
            out = tokens.new_full((height, width), self.outside_logit)
            if len(tokens):
                x, position = tokens[None], positions[:, mask.flatten()].to(tokens.dtype)
                for layer in self.layers:
                    x = layer(x, position)
                values = self.classify(x).flatten()
                out = out.to(values.dtype).masked_scatter(mask, values)
            logits.append(out)
        return torch.stack(logits)[:, None], inside

    def _tokens(self, image: Tensor, boxes: list[list[list[int]]], inside: Tensor) -> list[Tensor]:
        """Features of the pixels inside, (N, C) of each image, row by row."""
        # Batch norms of a training see all pixels.
        if self.training or self.crop_margin is None:
            return [one[:, mask].t() for one, mask in zip(self.pixels(image), inside, strict=True)]
        return [self._cropped(*one) for one in zip(image, boxes, inside, strict=True)]

    def _cropped(self, image: Tensor, boxes: list[list[int]], inside: Tensor) -> Tensor:
        height, width = inside.shape
        margin = self.crop_margin
        crops = [
            (max(left - margin, 0), max(top - margin, 0), min(right + margin, width), min(bottom + margin, height))
            for left, top, right, bottom in boxes
        ]
        if not boxes:
            return image.new_zeros(0, self.channels)
        if sum((right - left) * (bottom - top) for left, top, right, bottom in crops) >= height * width:
            return self.pixels(image[None])[0][:, inside].t()
        tokens, place = [], torch.zeros_like(inside, dtype=torch.long)
        count = 0
        for (left, top, right, bottom), (x, y, end_x, end_y) in zip(boxes, crops, strict=True):
            features = self.pixels(image[None, :, y:end_y, x:end_x])[0, :, top - y : bottom - y, left - x : right - x]
            tokens.append(features.flatten(1).t())
            # Where boxes overlap, the last one's features stand, which are those of the others.
            place[top:bottom, left:right] = torch.arange(count, count + len(tokens[-1]), device=place.device).view(
                bottom - top, right - left
            )
            count += len(tokens[-1])
        return torch.cat(tokens)[place[inside]]

    def forward(self, inputs: tuple[Tensor, ...]) -> Tensor:
        """Logits (B, 1, H, W) at the size of the image."""
        refuse_export(
            self, 'its attention takes the pixels of boxes that are chosen one after the other by their scores'
        )
        image, wide = self._transform_inputs(inputs)
        return self.segment(image, self.boxes(self.detect(wide), *image.shape[2:]))[0]

    def loss(self, inputs: tuple[Tensor, ...], batch_data_samples: SampleList, train_cfg: dict) -> dict[str, Tensor]:
        """Compute the losses of the mask inside the boxes, the mean of the images, and those of boxes and scores."""
        image, wide = self._transform_inputs(inputs)
        raw = self.detect(wide)
        logits, inside = self.segment(image, self.boxes(raw, *image.shape[2:]))
        label = self._stack_batch_gt(batch_data_samples).squeeze(1)
        seen = torch.where(inside, label, self.ignore_index)
        logits = self._at_label_size(logits, label)
        warming = MessageHub.get_current_instance().get_info('iter', 0) < self.warmup_iters
        losses: dict[str, Tensor] = {}
        for i in range(len(label)):
            for name, value in self.mask_losses(logits[i : i + 1], seen[i : i + 1]).items():
                losses[name] = losses.get(name, 0) + value * (0 if warming else 1) / len(label)
        return losses | self.box_losses(raw.float(), label) | self.log_values(logits, label)

    def box_losses(self, raw: Tensor, label: Tensor) -> dict[str, Tensor]:
        """Compute the losses of boxes and scores, of what `detect` gives (B, 5, h, w) and labels (B, H, W)."""
        height, width = label.shape[1:]
        rows, columns = raw.shape[2:]
        targets = [
            (i, left, top, right, bottom)
            for i, mask in enumerate(label.cpu().numpy() == 1)
            for top, left, bottom, right in label_components(mask).boxes.tolist()
        ]
        objects, loss_box = torch.zeros_like(raw[:, 4]), 0 * raw[:, :4].sum()
        if targets:
            image, *sides = torch.tensor(targets, device=raw.device).t()
            left, top, right, bottom = (side.to(raw.dtype) for side in sides)
            # Half-open boxes end a pixel behind the target's last, those of the public code on it.
            left, right = (left - self.margin).clamp(min=0), (right - 1 + self.margin).clamp(max=width)
            top, bottom = (top - self.margin).clamp(min=0), (bottom - 1 + self.margin).clamp(max=height)
            x, y = (left + right) / 2 / width * columns, (top + bottom) / 2 / height * rows
            column, row = x.long().clamp(max=columns - 1), y.long().clamp(max=rows - 1)
            box = torch.stack(
                (x - column, y - row, (right - left) / width * columns, (bottom - top) / height * rows), dim=1
            )
            found = raw[image, :4, row, column].sigmoid() * 2
            predicted = torch.cat((found[:, :2] - 0.5, found[:, 2:].square() * self.anchor / self.stride), dim=1)
            quality = complete_iou(predicted, box)
            loss_box = loss_box + (1 - quality).mean()
            objects[image, row, column] = quality.detach().clamp(min=0)
        weight = raw.new_tensor(self.object_weight)
        loss_object = F.binary_cross_entropy_with_logits(raw[:, 4], objects, pos_weight=weight)
        return {'loss_box': self.box_weight * loss_box, 'loss_object': loss_object}
