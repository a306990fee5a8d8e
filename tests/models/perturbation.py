"""Which parts of a model change its prediction: a part that changes none is a stub, however well it trains."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial

import torch
from golden_state import drawn
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm


def draw(name: str, like: Tensor, seed: int = 0) -> Tensor:
    """Draw a parameter or statistic from its name and a seed, at a scale that keeps activations near 1.

    Tables of tokens are standard normal, as trained ones nearly are: tokens near 0 attend to all pixels alike. Offsets
    of deformable convolutions are a few pixels: where they are hundreds, float32 rounds the points that are read.
    """
    name = re.sub(r'((?:token|\.no_)\w*)\.weight$', r'\1', name)
    value = drawn(f'{seed}.{name}', tuple(like.shape)).to(like)
    return 0.1 * value if '.where.' in name else value


@torch.no_grad()
def randomize(model: nn.Module, seed: int = 0, predict: Callable[[nn.Module], Tensor] | None = None) -> nn.Module:
    """Draw all parameters and statistics anew, zero-initialized ones too; returns the model in evaluation mode.

    Tables of indices and the preprocessor's mean and deviation stay.

    With `predict` the statistics of batch norms are drawn around what they see in one forward pass: as in a trained
    network, no residual branch is then drowned by another. Those behind global pooling see one value an image, from
    which no deviation can be told; theirs stay as drawn.
    """
    for name, value in (*model.named_parameters(), *model.named_buffers()):
        if value.is_floating_point() and not name.startswith('data_preprocessor.'):
            value.copy_(draw(name, value, seed))
    model.eval()
    norms = {name: m for name, m in model.named_modules() if isinstance(m, _BatchNorm)}
    if predict is not None and norms:
        momentum = [m.momentum for m in norms.values()]
        pooled: set[nn.Module] = set()
        hooks = [m.register_forward_pre_hook(partial(_note_pooled, pooled)) for m in norms.values()]
        drawn_before = [(m.running_mean.clone(), m.running_var.clone()) for m in norms.values()]
        for m in norms.values():
            m.train().momentum = 1.0
        predict(model)
        for hook in hooks:
            hook.remove()
        for (name, m), old, (mean, var) in zip(norms.items(), momentum, drawn_before, strict=True):
            m.eval().momentum = old
            if m in pooled:
                m.running_mean.copy_(mean)
                m.running_var.copy_(var)
                continue
            m.running_mean += m.running_var.sqrt() * draw(f'{name}.running_mean', m.running_mean, seed)
            m.running_var *= draw(f'{name}.running_var', m.running_var, seed)
    return model


def _note_pooled(pooled: set[nn.Module], norm: nn.Module, inputs: tuple[Tensor, ...]) -> None:
    if inputs[0][0, 0].numel() == 1:
        pooled.add(norm)


def named_parts(model: nn.Module, depth: int = 3, prefix: str = '') -> Iterator[tuple[str, dict[str, nn.Parameter]]]:
    """Yield the modules at `depth` below the model, and the parameters that stand above them, by name."""
    for name, parameter in model.named_parameters(recurse=False):
        yield prefix + name, {prefix + name: parameter}
    for name, child in model.named_children():
        full = prefix + name
        if depth > 1 and any(True for _ in child.children()):
            yield from named_parts(child, depth - 1, f'{full}.')
        elif inside := {f'{full}.{key}': p for key, p in child.named_parameters()}:
            yield full, inside


@torch.no_grad()
def part_effects(
    model: nn.Module, predict: Callable[[nn.Module], Tensor], depth: int = 3, least: float = 0.01, draws: int = 3
) -> dict[str, float]:
    """Measure how much each part moves the logits.

    Args:
        model: the model; its parameters and statistics are drawn anew.
        predict: a function from model to logits.
        depth: see :func:`named_parts`.
        least: parts below it are measured again.
        draws: how often at most: in one draw of weights a part may be silent by chance, as behind a GELU whose inputs
            are all negative.

    Returns:
        for each part the standard deviation of the change when its parameters are drawn once more, as a fraction of
        the logits' own.
    """
    effects: dict[str, float] = {}
    for seed in range(draws):
        before = predict(randomize(model, seed, predict))
        for part, parameters in named_parts(model, depth):
            if effects.get(part, 0) > least:
                continue
            saved = {name: p.clone() for name, p in parameters.items()}
            for name, p in parameters.items():
                p.copy_(draw(name, p, seed + draws))
            change = ((predict(model) - before).std() / before.std()).item()
            effects[part] = max(change, effects.get(part, 0))
            for name, p in parameters.items():
                p.copy_(saved[name])
    return effects


def silent_parameters(model: nn.Module, predict: Callable[[nn.Module], Tensor], draws: int = 3) -> set[str]:
    """Name the parameters, frozen ones too, that no logit depends on: their gradient is zero for all draws of weights.

    One backward pass sees a stub among all parameters. It does not see an effect that is there but very small.
    """
    silent = {name for name, _ in model.named_parameters()}
    trainable = [p.requires_grad for p in model.parameters()]
    for seed in range(draws):
        # Backbones freeze their frozen parts again with each change of mode.
        logits = predict(randomize(model, seed, predict).requires_grad_(True))
        weights = torch.randn(logits.shape, generator=torch.Generator().manual_seed(seed))
        (logits * weights).sum().backward()
        silent -= with_gradient(model)
        model.zero_grad()
        if not silent:
            break
    for p, was in zip(model.parameters(), trainable, strict=True):
        p.requires_grad_(was)
    return silent


def with_gradient(model: nn.Module) -> set[str]:
    """Names of the parameters whose gradient is not zero."""
    return {name for name, p in model.named_parameters() if p.grad is not None and bool(p.grad.any())}


def allowed_here(names: Iterable[str], allowed: Mapping[str, str]) -> dict[str, str]:
    """The part of a list of allowed prefixes that is about a model with parameters of these names."""
    names = list(names)
    return {prefix: reason for prefix, reason in allowed.items() if any(name.startswith(prefix) for name in names)}


def stubs(effects: Mapping[str, float], allowed: Mapping[str, str], least: float = 0.01) -> dict[str, float]:
    """Return the parts below `least` that no prefix in `allowed` (prefix to reason) covers.

    Raises:
        AssertionError: for a prefix that covers no such part: the list is then out of date.
    """
    weak = {part: effect for part, effect in effects.items() if not effect > least}
    for prefix in allowed:
        assert any(part.startswith(prefix) for part in weak), f'{prefix} need not be allowed'
    return {part: effect for part, effect in weak.items() if not part.startswith(tuple(allowed))}
