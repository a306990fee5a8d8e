"""Parameters and multiply-adds of a model by part.

Counted are the multiply-adds of convolutions, matrix products and attention at inference; norms, activations,
interpolation and other element-wise work are not, as is usual in papers.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from mmengine.config import Config
from mmengine.model import revert_sync_batchnorm
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from torch import Tensor, nn
from torch.backends import mha
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from mmirstd.apis.configuration import CfgOptions, has_weights, read_config, refuse_distiller
from mmirstd.models.layers.reparam import switch_to_deploy
from mmirstd.utils.errors import ArgumentError

LISTS = (nn.ModuleList, nn.ModuleDict)
TRAINING_ONLY = ('auxiliary_head', 'discriminator')


@dataclass
class ModuleCost:
    """Parameters and multiply-adds (of one image) of a module with all that is below it."""

    name: str
    type: str
    depth: int
    params: int
    macs: int


def build_model(cfg: Config, deploy: bool = False) -> nn.Module:
    """Build the config's model in eval mode, with random weights; ``deploy`` folds it."""
    init_default_scope(cfg.get('default_scope', 'mmseg'))
    if 'pretrained' in cfg.model:
        cfg.model.pretrained = None
    model = revert_sync_batchnorm(MODELS.build(cfg.model)).eval()
    if deploy:
        switch_to_deploy(model)
    return model


def raw_batch(model: nn.Module, batch: int, height: int, width: int) -> list[Tensor]:
    """Make random uint8 images (C, H, W), the same for all models of C channels."""
    mean = getattr(model.data_preprocessor, 'mean', None)
    shape = (3 if mean is None else len(mean), height, width)
    generator = torch.Generator().manual_seed(0)
    return [torch.randint(256, shape, generator=generator, dtype=torch.uint8) for _ in range(batch)]


def as_data(images: list[Tensor]) -> dict[str, list]:
    """Pack images as a data loader does."""
    sizes = [tuple(image.shape[1:]) for image in images]
    samples = [SegDataSample(metainfo={'ori_shape': size, 'img_shape': size}) for size in sizes]
    return {'inputs': list(images), 'data_samples': samples}


def network_inputs(model: nn.Module, images: list[Tensor]) -> tuple[Tensor, list[dict[str, Any]]]:
    """(B, C, H, W) through the model's preprocessor, which may pad or resize it, and the meta information."""
    data = model.data_preprocessor(as_data(images))
    return data['inputs'], [sample.metainfo for sample in data['data_samples']]


def count_macs(model: nn.Module, run: Callable[[], Any]) -> Counter[str]:
    """Multiply-adds of ``run()``, by the name of the module that spent them itself ('' for the model's own methods).

    A module's work is what happens in its ``forward``, however that is called: mmseg enters heads through ``predict``.
    """
    counter = FlopCounterMode(display=False)
    spent: Counter[str] = Counter()
    nested: list[int] = []

    def track(name: str, forward: Callable) -> Callable:
        def tracked(*args: Any, **kwargs: Any) -> Any:
            start = counter.get_total_flops()
            nested.append(0)
            try:
                return forward(*args, **kwargs)
            finally:
                flops = counter.get_total_flops() - start
                spent[name] += flops - nested.pop()
                if nested:
                    nested[-1] += flops

        return tracked

    with ExitStack() as stack:
        for name, module in model.named_modules():
            if name:
                stack.enter_context(mock.patch.object(module, 'forward', track(name, module.forward)))
        # The counter fails on parameters that are handed to a module and ask for a gradient.
        for p in model.parameters():
            if p.requires_grad:
                stack.callback(p.requires_grad_(False).requires_grad_)
        # The counter takes the CPU's fused attention kernels, which it does not know, for nothing.
        stack.enter_context(sdpa_kernel(SDPBackend.MATH))
        stack.callback(mha.set_fastpath_enabled, mha.get_fastpath_enabled())
        mha.set_fastpath_enabled(False)
        stack.enter_context(torch.no_grad())
        with counter:
            run()
    spent[''] += counter.get_total_flops() - spent.total()
    return Counter({name: flops // 2 for name, flops in spent.items()})


def analyze(model: nn.Module, height: int, width: int, depth: int = 2) -> tuple[list[ModuleCost], tuple[int, int]]:
    """Parts of the model down to ``depth`` levels (lists of modules are no level), and the input size after padding.

    The first part, without a name, is the whole model. Auxiliary heads are left out, they cost nothing at inference.
    """
    image, metas = network_inputs(model, raw_batch(model, 1, height, width))
    macs = count_macs(model, lambda: model.encode_decode(image, metas))
    parts: list[ModuleCost] = []

    def visit(name: str, module: nn.Module, level: int) -> None:
        if not isinstance(module, LISTS):
            spent = sum(n for key, n in macs.items() if not name or key == name or key.startswith(f'{name}.'))
            params = sum(p.numel() for key, p in module.named_parameters() if name or not key.startswith(TRAINING_ONLY))
            if name and not params and not spent:
                return
            parts.append(ModuleCost(name, type(module).__name__, level, params, spent))
        if level < depth:
            for child_name, child in module.named_children():
                if name or child_name not in TRAINING_ONLY:
                    full = f'{name}.{child_name}' if name else child_name
                    visit(full, child, level + (not isinstance(child, LISTS)))

    visit('', model, 0)
    return parts, tuple(image.shape[-2:])


@dataclass
class Complexity:
    """What a model costs.

    Attributes:
        config: The config as it was given.
        shape: Height and width of the image.
        input_size: Height and width that the network sees, after padding or resizing.
        deploy: Whether branches and batch norms were folded first.
        resized: Whether the preprocessor resizes rather than pads.
        total: The whole model, without what is for training only.
        parts: Its modules, each after the one it is in.
        training_only: Parameters of each module that only trains: auxiliary heads, a discriminator.
    """

    config: str
    shape: tuple[int, int]
    input_size: tuple[int, int]
    deploy: bool
    resized: bool
    total: ModuleCost
    parts: list[ModuleCost]
    training_only: dict[str, int] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Plain values, counts in units; ``shape`` is what the network sees."""
        whole = {'config': self.config, 'shape': self.input_size, 'deploy': self.deploy}
        return whole | {
            'params': self.total.params,
            'macs': self.total.macs,
            'parts': [asdict(part) for part in self.parts],
        }

    def __str__(self) -> str:
        form = 'folded for deployment' if self.deploy else 'as trained'
        how = 'resized' if self.resized else 'padded'
        (height, width), seen = self.shape, self.input_size
        note = f' ({how} from {height} x {width})' if seen != self.shape else ''
        lines = [f'{self.config}, {seen[0]} x {seen[1]}{note}, {form}', '', cost_table([self.total, *self.parts])]
        for name, params in self.training_only.items():
            lines += ['', f'{name}: {params / 1e6:.3f} M parameters, for training only, not counted']
        return '\n'.join(lines)


def model_complexity(
    config: str | Path | Config,
    shape: int | Sequence[int] = 256,
    *,
    deploy: bool = False,
    depth: int = 2,
    cfg_options: CfgOptions | None = None,
) -> Complexity:
    """Count parameters and multiply-adds of a config's model.

    Args:
        config: Path or name of a config, or a config.
        shape: Height and width of the image in pixels; one number is both.
        deploy: Fold branches and batch norms first.
        depth: Levels of modules to list.
        cfg_options: Changes of the config: dotted keys and values, or ``'KEY=VALUE'`` texts.

    Raises:
        ArgumentError: If the shape or the depth is impossible, or the model is a classical detector.
        ConfigNotFoundError: If there is no such config.
    """
    height, width = image_shape(shape)
    if depth < 0:
        raise ArgumentError(f'--depth must not be negative, got {depth}')
    cfg = read_config(config, cfg_options)
    refuse_distiller(cfg)
    if not has_weights(cfg):
        raise ArgumentError(
            f'{cfg.filename or "the model"} has no weights, and its work outside of PyTorch '
            'is not counted; `mmirstd benchmark` measures its time'
        )
    model = build_model(cfg, deploy)
    (total, *parts), seen = analyze(model, height, width, depth)
    return Complexity(
        config=str(config.filename if isinstance(config, Config) else config),
        shape=(height, width),
        input_size=seen,
        deploy=deploy,
        resized=bool(getattr(model.data_preprocessor, 'inside_size', None)),
        total=total,
        parts=parts,
        training_only={
            name: sum(p.numel() for p in child.parameters())
            for name, child in model.named_children()
            if name in TRAINING_ONLY
        },
    )


def image_shape(shape: int | Sequence[int]) -> tuple[int, int]:
    """Height and width from one or two numbers.

    Raises:
        ArgumentError: If there are more, or a number is not positive.
    """
    numbers = [shape] if isinstance(shape, int) else list(shape)
    if len(numbers) not in (1, 2) or min(numbers) < 1:
        raise ArgumentError(f'--shape takes a height and a width (or one number for both), got {numbers}')
    return numbers[0], numbers[-1]


def cost_table(parts: Sequence[ModuleCost]) -> str:
    """Indented, with shares of the whole."""
    whole = parts[0]
    rows = [('part', 'type', 'parameters', '', 'multiply-adds', '')]
    for part in parts:
        # Below the first level, the name without that of the part it is in.
        label = part.name.split('.', 1)[-1] if part.depth > 1 else part.name or 'total'
        rows.append(
            (
                '  ' * part.depth + label,
                part.type,
                f'{part.params / 1e6:.3f} M',
                f'{part.params / max(whole.params, 1):.1%}',
                f'{part.macs / 1e9:.3f} G',
                f'{part.macs / max(whole.macs, 1):.1%}',
            )
        )
    widths = [max(len(row[i]) for row in rows) for i in range(6)]
    lines = []
    for row in rows:
        cells = [cell.ljust(w) if i < 2 else cell.rjust(w) for i, (cell, w) in enumerate(zip(row, widths, strict=True))]
        lines.append('  '.join(cells).rstrip())
    lines.insert(1, '-' * max(map(len, lines)))
    return '\n'.join(lines)
