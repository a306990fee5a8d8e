"""A segmentor whose masks learn against a discriminator, by an optimizer for each network."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from mmengine.optim import OptimWrapper, OptimWrapperDict
from mmseg.utils import ConfigType, OptSampleList
from torch import Tensor, nn

from mmirstd.models.losses.adversarial import class_adversarial_loss
from mmirstd.models.segmentors.encoder_decoder import IRSTDEncoderDecoder
from mmirstd.registry import MODELS
from mmirstd.utils.errors import UserError

DISCRIMINATOR = 'discriminator'


class OptimizersError(UserError, TypeError):
    """A model was given other optimizers than it needs."""


@MODELS.register_module()
class AdversarialSegmentor(IRSTDEncoderDecoder):
    """Generators that learn by their own losses, against a discriminator, and to agree (Wang et al., ICCV 2019).

    The backbone is ``ParallelBackbones``, the head ``ClampedHeads``; branch i and convolution i are generator i. An
    iteration is one step of the discriminator, then one of each generator in turn, each by the optimizer of its name in
    an ``OptimWrapperDict``: ``discriminator``, ``generator1``, ``generator2``. As in the public code
    (TianwangJia/MDvsFAcGAN at d9c4560), batch norms of the others use their running statistics in a step. Testing needs
    no discriminator, and treats the model as any other segmentor.

    Args:
        discriminator: config of a network from image and mask to scores and a map, as ``MaskDiscriminator``.
        loss_adversarial: trains the discriminator, with weight 1, and generators by what it says.
        loss_matching: trains generators by how far apart the discriminator sees their masks.
        kwargs: arguments of MMSegmentation's ``EncoderDecoder``.

    Raises:
        ValueError: if the discriminator does not tell true masks and those of each generator apart.
    """

    def __init__(
        self, *args: object, discriminator: ConfigType, loss_adversarial: ConfigType, loss_matching: ConfigType,
        **kwargs: object,
    ) -> None:  # fmt: skip
        super().__init__(*args, **kwargs)
        self.discriminator = MODELS.build(discriminator)
        self.loss_adversarial, self.loss_matching = MODELS.build(loss_adversarial), MODELS.build(loss_matching)
        self.num_generators = len(self.backbone.branches)
        if self.discriminator.num_sources != self.num_generators + 1:
            raise ValueError(
                f'AdversarialSegmentor: {self.num_generators} generators need a discriminator with num_sources='
                f'{self.num_generators + 1}, not {self.discriminator.num_sources}'
            )

    def trained_parts(self) -> dict[str, nn.ModuleList]:
        """The modules that an optimizer of their own trains, by its name."""
        generators = {
            f'generator{i + 1}': nn.ModuleList([self.backbone.branches[i], self.decode_head.convs[i]])
            for i in range(self.num_generators)
        }
        return {DISCRIMINATOR: nn.ModuleList([self.discriminator]), **generators}

    def train_step(self, data: dict | tuple | list, optim_wrapper: OptimWrapper) -> dict[str, Tensor]:
        """Train the discriminator, then each generator.

        Returns:
            what is logged, by name of the part and of the loss, and ``loss``, their sum.

        Raises:
            OptimizersError: if there is one optimizer for all.
        """
        parts = self.trained_parts()
        if not isinstance(optim_wrapper, OptimWrapperDict):
            raise OptimizersError(
                f'{type(self).__name__} needs an optimizer for each of {", ".join(parts)}: set optim_wrapper = '
                "dict(constructor='mmirstd.PartsOptimWrapperConstructor', ...)"
            )
        data = self.data_preprocessor(data, True)
        logged: dict[str, Tensor] = {}
        for name, part in parts.items():
            self.eval()
            part.train()
            with optim_wrapper[name].optim_context(self):
                losses = self.part_losses(name, data['inputs'], data['data_samples'])
            loss, values = self.parse_losses(losses)
            optim_wrapper[name].update_params(loss)
            logged |= {f'{name}.{key}': value for key, value in values.items()}
        self.train()
        logged['loss'] = sum(logged[f'{name}.loss'] for name in parts)
        return logged

    def part_losses(self, name: str, inputs: Tensor, data_samples: OptSampleList) -> dict[str, Tensor]:
        """Compute the losses of one part, whose parameters alone get gradients.

        Args:
            name: One of :meth:`trained_parts`.
            inputs: Images (B, C, H, W).
            data_samples: Their labels.
        """
        label = self.decode_head._stack_batch_gt(data_samples).squeeze(1)
        if name == DISCRIMINATOR:
            with torch.no_grad():
                masks = [self._generate(i, inputs, label) for i in range(self.num_generators)]
            scores, _ = self._discriminate(inputs, label, masks)
            return {f'loss_source{i}': class_adversarial_loss(chunk, i) for i, chunk in enumerate(scores)}
        index = list(self.trained_parts()).index(name) - 1
        with torch.no_grad():
            masks = [None if i == index else self._generate(i, inputs, label) for i in range(self.num_generators)]
        masks[index] = self._generate(index, inputs, label)
        losses = self.decode_head.mask_loss(masks[index], label, index)
        with _frozen(self.discriminator):
            scores, maps = self._discriminate(inputs, label, masks)
        losses['loss_adversarial'] = self.loss_adversarial(scores[index + 1], 0)
        others = [self.loss_matching(maps[index + 1], maps[i + 1]) for i in range(self.num_generators) if i != index]
        return losses | {'loss_matching': sum(others)} if others else losses

    def loss(self, inputs: Tensor, data_samples: OptSampleList) -> dict[str, Tensor]:
        """Compute the losses of all parts at once, with the modes as they are."""
        return {
            f'{name}.{key}': value
            for name in self.trained_parts()
            for key, value in self.part_losses(name, inputs, data_samples).items()
        }

    def _generate(self, index: int, inputs: Tensor, label: Tensor) -> Tensor:
        features = [()] * self.num_generators
        features[index] = self.backbone.branches[index](inputs)[-1]
        conv = self.decode_head
        return conv._at_label_size(conv.mask(tuple(features), index), label)

    def _discriminate(
        self, inputs: Tensor, label: Tensor, masks: list[Tensor]
    ) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        """Scores and maps of the true masks and of those of each generator; ignored pixels are background in all."""
        valid = (label != self.decode_head.ignore_index)[:, None]
        sources = [(label == 1)[:, None].to(masks[0]), *(mask.sigmoid() for mask in masks)]
        pairs = [torch.cat((inputs.to(mask), 2 * (mask * valid) - 1), dim=1) for mask in sources]
        scores, maps = self.discriminator(torch.cat(pairs))
        return scores.chunk(len(pairs)), maps.chunk(len(pairs))


@contextmanager
def _frozen(module: nn.Module) -> Iterator[None]:
    """Let the parameters of a module get no gradients from what is computed inside."""
    before = [p.requires_grad for p in module.parameters()]
    module.requires_grad_(False)
    try:
        yield
    finally:
        for p, flag in zip(module.parameters(), before, strict=True):
            p.requires_grad_(flag)
