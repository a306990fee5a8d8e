"""Parameters and multiply-adds of a model by part: ``python tools/analysis_tools/get_flops.py CONFIG --shape 256 256``.

Counted are the multiply-adds of convolutions, matrix products and attention at inference; norms, activations,
interpolation and other element-wise work are not, as is usual in papers.
"""

import argparse
import json
import os.path as osp
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from typing import Any
from unittest import mock

try:
    from mmirstd.apis import tool_options as cli
except ImportError as e:
    if e.name not in ('mmirstd', None):
        raise
    # e.name is None where mmirstd says that its stack is missing.
    root = osp.dirname(osp.dirname(osp.dirname(osp.abspath(__file__))))
    advice = f'mmirstd is not installed in this Python: run `make` in {root} and use {root}/.venv/bin/python'
    raise SystemExit(f'error: {advice if e.name else e}') from None
import torch
from mmengine.config import Config, DictAction
from mmengine.model import revert_sync_batchnorm
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from mmirstd.models.layers.reparam import switch_to_deploy

LISTS = (nn.ModuleList, nn.ModuleDict)
TRAINING_ONLY = 'auxiliary_head'


@dataclass
class Part:
    """A module with all that is below it; ``macs`` of one image."""

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


def example(model: nn.Module, height: int, width: int) -> tuple[Tensor, list[dict[str, Any]]]:
    """(1, C, H, W) through the model's preprocessor, which may pad it, and its meta information."""
    mean = getattr(model.data_preprocessor, 'mean', None)
    size = (height, width)
    sample = SegDataSample(metainfo={'ori_shape': size, 'img_shape': size})
    image = torch.zeros(3 if mean is None else len(mean), *size, dtype=torch.uint8)
    data = model.data_preprocessor({'inputs': [image], 'data_samples': [sample]})
    return data['inputs'], [sample.metainfo]


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
        stack.enter_context(_without_attention_fastpath())
        stack.enter_context(torch.no_grad())
        with counter:
            run()
    spent[''] += counter.get_total_flops() - spent.total()
    return Counter({name: flops // 2 for name, flops in spent.items()})


@contextmanager
def _without_attention_fastpath() -> Iterator[None]:
    enabled = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(enabled)


def analyse(model: nn.Module, height: int, width: int, depth: int = 2) -> tuple[list[Part], tuple[int, int]]:
    """Parts of the model down to ``depth`` levels (lists of modules are no level), and the input size after padding.

    The first part, without a name, is the whole model. Auxiliary heads are left out, they cost nothing at inference.
    """
    image, metas = example(model, height, width)
    macs = count_macs(model, lambda: model.encode_decode(image, metas))
    parts: list[Part] = []

    def visit(name: str, module: nn.Module, level: int) -> None:
        if not isinstance(module, LISTS):
            spent = sum(n for key, n in macs.items() if not name or key == name or key.startswith(f'{name}.'))
            params = sum(p.numel() for key, p in module.named_parameters() if name or not key.startswith(TRAINING_ONLY))
            if not params and not spent:
                return
            parts.append(Part(name, type(module).__name__, level, params, spent))
        if level < depth:
            for child_name, child in module.named_children():
                if name or child_name != TRAINING_ONLY:
                    full = f'{name}.{child_name}' if name else child_name
                    visit(full, child, level + (not isinstance(child, LISTS)))

    visit('', model, 0)
    return parts, tuple(image.shape[-2:])


def table(parts: list[Part]) -> str:
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


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description='Parameters and multiply-adds of a model by part.')
    parser.add_argument('config', help='config file')
    parser.add_argument('--shape', type=int, nargs='+', default=[256, 256], metavar=('H', 'W'), help='image size')
    parser.add_argument('--deploy', action='store_true', help='fold branches and batch norms first')
    parser.add_argument('--depth', type=int, default=2, help='levels of modules to list (default: 2)')
    parser.add_argument('--json', action='store_true', help='print JSON, counts in units')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, default={}, metavar='KEY=VALUE')
    args = parser.parse_args(argv)
    if len(args.shape) > 2 or min(args.shape) < 1:
        parser.error(f'--shape takes a height and a width (or one number for both), got {args.shape}')
    if args.depth < 0:
        parser.error(f'--depth must not be negative, got {args.depth}')
    return args


def main(argv: list[str] | None = None) -> None:
    """Print the table."""
    args = parse_args(argv)
    height, width = args.shape[0], args.shape[-1]
    with cli.one_line_errors():
        cfg = Config.fromfile(args.config)
        cfg.merge_from_dict(args.cfg_options)
        model = build_model(cfg, args.deploy)
        parts, padded = analyse(model, height, width, args.depth)
    if args.json:
        whole = {'config': args.config, 'shape': padded, 'deploy': args.deploy}
        whole |= {'params': parts[0].params, 'macs': parts[0].macs, 'parts': [asdict(part) for part in parts[1:]]}
        print(json.dumps(whole, indent=2))
        return
    form = 'folded for deployment' if args.deploy else 'as trained'
    how = 'resized' if getattr(model.data_preprocessor, 'inside_size', None) else 'padded'
    note = f' ({how} from {height} x {width})' if padded != (height, width) else ''
    print(f'{args.config}, {padded[0]} x {padded[1]}{note}, {form}\n')
    print(table(parts))
    if hasattr(model, TRAINING_ONLY):
        params = sum(p.numel() for p in getattr(model, TRAINING_ONLY).parameters())
        print(f'\n{TRAINING_ONLY}: {params / 1e6:.3f} M parameters, for training only, not counted')


if __name__ == '__main__':
    main()
