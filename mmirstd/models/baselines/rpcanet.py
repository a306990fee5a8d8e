"""RPCANet (Wu et al., WACV 2024) and L-RPCANet (Liu et al., 2025): robust PCA, unfolded.

An image D is a background B of low rank, a sparse target T and, in L-RPCANet, noise N. Each stage estimates them one by
one, by small networks in place of proximal operators, and merges them to the image that the next stage decomposes. The
facts are those of fengyiwu98/RPCANet at 25da080 (MIT) and xianchaoxiu/L-RPCANet at 47f8e53 (no license).
"""

from mmengine.model import BaseModule
from mmseg.utils import SampleList
from torch import Tensor, nn

from mmirstd.models.decode_heads.binary_head import BinaryHead
from mmirstd.models.layers.gates import ChannelGate
from mmirstd.models.layers.residual import ConvBNReLU
from mmirstd.registry import MODELS


class Estimator(nn.Module):
    """Convolutions from one channel to one, which stand for a proximal operator.

    Args:
        channels: width of the inner convolutions.
        num_layers: how many there are.
        norm: whether batch norms follow the convolutions.
        kernel_size: size of the first convolution.
        wide_channels: width of one more convolution, if any.
        gate: whether channels are weighed by their means before the last convolution.
    """

    def __init__(
        self,
        channels: int,
        num_layers: int,
        norm: bool,
        kernel_size: int = 3,
        wide_channels: int | None = None,
        gate: bool = False,
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for i in range(num_layers + 1):
            shape = (channels, channels, 3) if i else (1, channels, kernel_size)
            layers.append(
                ConvBNReLU(*shape, bias=True)
                if norm
                else nn.Sequential(nn.Conv2d(*shape, padding=shape[2] // 2), nn.ReLU(inplace=True))
            )
        self.convs = nn.Sequential(*layers)
        self.widen = nn.Conv2d(channels, wide_channels, 3, padding=1) if wide_channels else nn.Identity()
        channels = wide_channels or channels
        self.gate = ChannelGate(channels, bias=True, maximum=False) if gate else nn.Identity()
        self.last = nn.Conv2d(channels, 1, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 1, H, W), as it came."""
        return self.last(self.gate(self.widen(self.convs(x))))


class Decomposition(nn.Module):
    """Estimates the background of an image, and the target that the background leaves."""

    def __init__(self, background: Estimator, target: Estimator) -> None:
        super().__init__()
        self.background, self.target = background, target
        self.step = nn.Parameter(background.last.weight.new_full((1,), 0.01))

    def forward(self, image: Tensor, target: Tensor | None) -> tuple[Tensor, Tensor]:
        """Image and the last target (None is zero), each (B, 1, H, W), to background and target."""
        rest = image if target is None else image - target
        background = rest + self.background(rest)
        x = image - background if target is None else target + image - background
        return background, x - self.step * self.target(x)


class Merger(nn.Module):
    """Makes the image anew of background and target and, where it is estimated, noise."""

    def __init__(self, image: Estimator, noise: Estimator | None) -> None:
        super().__init__()
        self.image, self.noise = image, noise
        if noise is not None:
            self.step = nn.Parameter(image.last.weight.new_full((1,), 0.01))

    def forward(self, image: Tensor, background: Tensor, target: Tensor) -> Tensor:
        """Image, background and target, each (B, 1, H, W), to the next image."""
        x = background + target
        if self.noise is not None:
            rest = image - x
            x = x + rest - self.step * self.noise(rest)
        return self.image(x)


@MODELS.register_module()
class UnfoldedRPCA(BaseModule):
    """The stages of RPCANet or, with `light_channels`, of L-RPCANet, as a backbone.

    Args:
        num_stages: stages.
        channels: width of the estimators.
        background_layers: inner convolutions of the estimator of the background.
        target_layers: inner convolutions of the estimator of the target, and of the noise.
        image_layers: inner convolutions of the estimator of the image.
        light_channels: L-RPCANet's inner width. Its estimators widen to `channels` behind them and weigh channels, and
            noise is estimated, too. In the code it is zero at the beginning of each stage.
        init_cfg: MMEngine's initialization.
    """

    in_channels = 1

    def __init__(
        self,
        num_stages: int = 6,
        channels: int = 32,
        background_layers: int = 3,
        target_layers: int = 6,
        image_layers: int = 3,
        light_channels: int | None = None,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(init_cfg or dict(type='Xavier', layer='Conv2d', distribution='normal'))
        if num_stages < 1:
            raise ValueError(f'UnfoldedRPCA: {num_stages=} must be at least 1')
        self.out_channels = [1]
        light = light_channels is not None
        inner = dict(channels=light_channels, wide_channels=channels, gate=True) if light else dict(channels=channels)
        first = dict(kernel_size=1) if light else {}
        self.stages = nn.ModuleList(
            Decomposition(
                Estimator(num_layers=background_layers, norm=True, **inner, **first),
                Estimator(num_layers=target_layers, norm=False, **inner, **first),
            )
            for _ in range(num_stages)
        )
        mergers = [
            Merger(
                Estimator(channels, image_layers, norm=True, gate=light),
                Estimator(num_layers=target_layers, norm=False, **inner) if light else None,
            )
            for _ in range(num_stages)
        ]
        self.mergers, self.last_merger = nn.ModuleList(mergers[:-1]), mergers[-1]

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """Image (B, 1, H, W) to the target, and in training also to the image made anew and the image itself."""
        current, target = image, None
        for i, stage in enumerate(self.stages):
            background, target = stage(current, target)
            if i < len(self.mergers):
                current = self.mergers[i](current, background, target)
        return (target, self.last_merger(current, background, target), image) if self.training else (target,)


@MODELS.register_module()
class UnfoldingHead(BinaryHead):
    """Takes the target of :class:`UnfoldedRPCA` as the logit, and compares the image made anew with the image.

    Args:
        reconstruction_weight: factor of the mean squared error.
        kwargs: arguments of :class:`BinaryHead`.
    """

    def __init__(self, reconstruction_weight: float = 0.01, **kwargs: object) -> None:
        super().__init__(1, 1, **kwargs)
        self.reconstruction_weight = reconstruction_weight

    def forward(self, inputs: tuple[Tensor, ...]) -> Tensor:
        """Logits (B, 1, H, W)."""
        return inputs[0]

    def loss(self, inputs: tuple[Tensor, ...], batch_data_samples: SampleList, train_cfg: dict) -> dict[str, Tensor]:
        """Compute the losses of the logits, and the mean squared error of the image made anew."""
        losses = super().loss(inputs, batch_data_samples, train_cfg)
        _, made, image = inputs
        losses['loss_reconstruction'] = self.reconstruction_weight * (made.float() - image.float()).square().mean()
        return losses
