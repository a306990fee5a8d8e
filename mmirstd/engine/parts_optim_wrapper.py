"""An optimizer for each part of a model that trains in turns."""

from collections.abc import Mapping

from mmengine.optim import OptimWrapperDict, build_optim_wrapper
from torch import nn

from mmirstd.engine.distributed import unwrapped
from mmirstd.registry import OPTIM_WRAPPER_CONSTRUCTORS
from mmirstd.utils.errors import UserError
from mmirstd.utils.text import did_you_mean


class PartsError(UserError, ValueError):
    """Optimizers that are not those of the parts of the model."""


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class PartsOptimWrapperConstructor:
    """Builds an ``OptimWrapperDict``, with an optimizer wrapper for each part that ``model.trained_parts()`` names.

    ``optim_wrapper = dict(constructor='mmirstd.PartsOptimWrapperConstructor', discriminator=dict(type='OptimWrapper',
    optimizer=...), generator1=...)``; a ``paramwise_cfg`` may stand in each.

    Args:
        optim_wrapper_cfg: Wrapper of each part, by its name.
        paramwise_cfg: Must be empty.
    """

    def __init__(self, optim_wrapper_cfg: Mapping[str, dict], paramwise_cfg: dict | None = None) -> None:
        if paramwise_cfg:
            raise PartsError('optim_wrapper.paramwise_cfg: with several optimizers it stands in those of each part')
        self.wrappers = dict(optim_wrapper_cfg)

    def __call__(self, model: nn.Module) -> OptimWrapperDict:
        """Build.

        Raises:
            PartsError: If the model has no parts, they are others, or a trainable parameter is in none of them.
        """
        model = unwrapped(model)
        if not hasattr(model, 'trained_parts'):
            raise PartsError(
                f'optim_wrapper.constructor: {type(model).__name__} is not trained in parts; it takes one '
                'optim_wrapper.optimizer'
            )
        parts: dict[str, nn.Module] = model.trained_parts()
        if unknown := [name for name in self.wrappers if name not in parts]:
            near = did_you_mean(unknown[0], list(parts), 1)
            raise PartsError(f'optim_wrapper.{unknown[0]}: {type(model).__name__} has no such part{near}')
        if missing := [name for name in parts if name not in self.wrappers]:
            raise PartsError(f'optim_wrapper.{missing[0]}: this part of {type(model).__name__} has no optimizer')
        trained = {id(p) for part in parts.values() for p in part.parameters()}
        if left := [name for name, p in model.named_parameters() if p.requires_grad and id(p) not in trained]:
            raise PartsError(f'optim_wrapper: no part of {type(model).__name__} trains {left[0]}')
        return OptimWrapperDict(**{name: build_optim_wrapper(parts[name], self.wrappers[name]) for name in parts})
