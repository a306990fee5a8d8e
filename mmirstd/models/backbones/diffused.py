"""WPMD at chosen levels of any backbone: what comes after a level sees it diffused.

The backbone's own forward runs, and its weights keep their names, so checkpoints and key conversions stay as they are.
"""

from collections.abc import Sequence

from mmengine.model import BaseModule
from torch import Tensor, nn

from mmirstd.models.layers.wpmd import WPMDBlock
from mmirstd.registry import MODELS


def _follow(module: nn.Module, owner: 'DiffusedBackbone', name: str) -> None:
    """Let `module` end with the owner's block `name`.

    Its class becomes a subclass, as with torch's parametrizations: unlike a hook or a patched method this is copied
    right by deepcopy (averaged weights are a deep copy), and unlike a wrapping module it renames no weights.
    """
    base = type(module)

    def forward(self: nn.Module, *args: object, **kwargs: object) -> Tensor:
        return self.__dict__['_diffuse'][0].diffuse(name, base.forward(self, *args, **kwargs))

    module.__class__ = type(f'Diffused{base.__name__}', (base,), {'forward': forward})
    # In a tuple, as it is no submodule: the owner holds the module.
    module.__dict__['_diffuse'] = (owner,)


def level_names(backbone: nn.Module) -> list[str]:
    """Names of the submodules that end the levels of a backbone, for those of known form; else empty."""
    if hasattr(backbone, 'res_layers'):
        return list(backbone.res_layers)
    if hasattr(backbone, 'stages'):
        return [f'stages.{i}.blocks' if hasattr(s, 'blocks') else f'stages.{i}' for i, s in enumerate(backbone.stages)]
    for name in ('blocks', 'layers'):
        if isinstance(getattr(backbone, name, None), (nn.ModuleList, nn.Sequential)):
            return [f'{name}.{i}' for i in range(len(getattr(backbone, name)))]
    return []


@MODELS.register_module()
class DiffusedBackbone(BaseModule):
    """A backbone with a :class:`WPMDBlock` after each of some levels; returns what the backbone returns.

    Args:
        backbone: config of the backbone, its ``init_cfg`` included.
        levels: after what to diffuse: numbers of stages (RepViT, TinyViT, ResNet), of layers (SAMViT), or the names of
            any submodules that return one map (B, C, H, W) or, channels last, (B, H, W, C).
        in_channels: C at each of these; None takes it from `embed_dims` of the backbone, or from a ResNet's layers.
        channels_last: whether these maps are (B, H, W, C); None: those of SAMViT and of mmpretrain's ViTSAM are.
        block: arguments of WPMDBlock for all of these, or a list of arguments, one for each.
        init_cfg: of MMEngine.

    Raises:
        ValueError: if a level is not there, or the numbers of levels, widths and blocks differ.
        TypeError: if a width is needed and not known, or a level does not return one map.
        RuntimeError: if the backbone's forward does not call a level.
    """

    def __init__(
        self,
        backbone: dict,
        levels: Sequence[int | str] = (0, 1),
        in_channels: Sequence[int] | None = None,
        channels_last: bool | None = None,
        block: dict | Sequence[dict] | None = None,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        self.backbone = MODELS.build(backbone)
        kind = type(self.backbone).__name__
        self.levels = [self._name(level) for level in levels]
        if not self.levels or len(set(self.levels)) < len(self.levels):
            raise ValueError(f'DiffusedBackbone: levels must be different, and at least one, got {levels}')
        if in_channels is None:
            in_channels = [self._width(level) for level in levels]
        blocks = [block or {}] * len(levels) if block is None or isinstance(block, dict) else list(block)
        if not len(in_channels) == len(blocks) == len(levels):
            raise ValueError(
                f'DiffusedBackbone: {len(levels)} levels, {len(in_channels)} in_channels and {len(blocks)} blocks'
            )
        self.channels_last = kind in ('SAMViT', 'ViTSAM') if channels_last is None else channels_last
        self.wpmd = nn.ModuleDict(
            {
                name.replace('.', '_'): WPMDBlock(width, **kwargs)
                for name, width, kwargs in zip(self.levels, in_channels, blocks, strict=True)
            }
        )
        self._called: set[str] | None = set()
        for name in self.levels:
            _follow(self.backbone.get_submodule(name), self, name)

    def _name(self, level: int | str) -> str:
        names = level_names(self.backbone)
        if isinstance(level, str):
            try:
                self.backbone.get_submodule(level)
            except AttributeError:
                known = (
                    f'its levels are {names}' if names else f'it has {[k for k, _ in self.backbone.named_children()]}'
                )
                raise ValueError(f'{type(self.backbone).__name__} has no submodule {level!r}; {known}') from None
            return level
        if not 0 <= level < len(names):
            raise ValueError(f'{type(self.backbone).__name__} has no level {level}; its levels are {names}')
        return names[level]

    def _width(self, level: int | str) -> int:
        backbone, names = self.backbone, level_names(self.backbone)
        i = names.index(self._name(level)) if self._name(level) in names else None
        widths = getattr(backbone, 'embed_dims', None)
        if isinstance(widths, int):
            return widths
        if i is not None and widths is not None:
            return widths[i]
        if i is not None and hasattr(backbone, 'res_layers'):
            return backbone.base_channels * 2**i * backbone.block.expansion
        if i is not None and hasattr(getattr(backbone, 'patch_embed', None), 'proj'):
            return backbone.patch_embed.proj.out_channels
        raise TypeError(
            f'DiffusedBackbone: the width of {type(backbone).__name__} at {level!r} is not known: give in_channels'
        )

    def diffuse(self, name: str, x: Tensor) -> Tensor:
        """What the backbone's submodule `name` has returned, diffused."""
        block = self.wpmd[name.replace('.', '_')]
        if not isinstance(x, Tensor) or x.dim() != 4:
            got = tuple(x.shape) if isinstance(x, Tensor) else type(x).__name__
            raise TypeError(
                f'DiffusedBackbone: {name} of {type(self.backbone).__name__} must return a map of four axes, got {got}'
            )
        channels = x.shape[3 if self.channels_last else 1]
        if channels != len(block.gate):
            raise ValueError(f'DiffusedBackbone: {name} has {channels} channels, in_channels says {len(block.gate)}')
        if self._called is not None:
            self._called.add(name)
        return block(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1) if self.channels_last else block(x)

    def forward(self, x: Tensor) -> Sequence[Tensor]:
        """(B, C, H, W) to what the backbone returns."""
        outs = self.backbone(x)
        if self._called is not None:
            if missing := set(self.levels) - self._called:
                raise RuntimeError(f'DiffusedBackbone: {type(self.backbone).__name__} does not call {sorted(missing)}')
            self._called = None
        return outs

    def switch_to_deploy(self) -> int:
        """Fold the backbone's branches, for those that can; returns the number of folded modules."""
        return self.backbone.switch_to_deploy()

    @property
    def out_channels(self) -> Sequence[int]:
        """Widths of the maps, of those backbones that know them."""
        return self.backbone.out_channels

    @property
    def out_strides(self) -> Sequence[int]:
        """Strides of the maps, of those backbones that know them."""
        return self.backbone.out_strides
