"""The parts of a network that a prediction runs through, and constants in their place."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from itertools import count
from typing import Any, Literal, NamedTuple
from unittest import mock

import torch
from torch import Tensor, nn

from mmirstd.apis.complexity import TRAINING_ONLY
from mmirstd.models.layers.features import QueryFeatures
from mmirstd.utils.errors import ArgumentError
from mmirstd.utils.text import did_you_mean

Replacement = Literal['zero', 'mean']


class MeanAxes(NamedTuple):
    """Axes of a tensor that its mean is over, and whether they grow with the image; tokens do not."""

    axes: tuple[int, ...]
    spatial: bool


# Of the outputs of a module, by the place among them and the number of axes.
OutputAxes = Mapping[tuple[int, int], MeanAxes]


@dataclass(frozen=True)
class ModelPart:
    """A module by its output, or a parameter that stands beside modules, such as query embeddings.

    Attributes:
        name: As in ``named_modules`` or ``named_parameters``.
        type: Name of the class.
        owner: The module, or the one that has the parameter.
        parameter: Name of the parameter in its owner; None for a module.
        axes: What means are over; of what has no entry there is none.
    """

    name: str
    type: str
    owner: nn.Module
    parameter: str | None
    axes: OutputAxes

    @property
    def mean_over(self) -> str:
        """What the mean is over: ``'space'``, ``'tokens'``, both, or ``''`` if there is none."""
        return ' and '.join(sorted({'space' if found.spatial else 'tokens' for found in self.axes.values()}))

    @contextmanager
    def replaced(self, by: Replacement) -> Iterator[None]:
        """Put zero or the mean in place of the output or parameter, inside the block."""
        if self.parameter is not None:
            value = getattr(self.owner, self.parameter)
            saved = value.detach().clone()
            with torch.no_grad():
                value.copy_(constant(saved, by, self.axes.get((0, saved.ndim))))
            try:
                yield
            finally:
                with torch.no_grad():
                    value.copy_(saved)
            return
        forward = self.owner.forward

        def replacing(*args: Any, **kwargs: Any) -> Any:
            place = count()

            def replace(x: Tensor) -> Tensor:
                return constant(x, by, self.axes.get((next(place), x.ndim)))

            return map_tensors(replace, forward(*args, **kwargs))

        # Not a hook: MMSegmentation enters heads by methods that call `forward` itself.
        with mock.patch.object(self.owner, 'forward', replacing):
            yield


def constant(x: Tensor, by: Replacement, over: MeanAxes | None) -> Tensor:
    """Zero, or the mean over some axes, in the shape of `x`; without axes the mean is `x` itself."""
    if by == 'zero':
        return torch.zeros_like(x)
    return x if over is None else x.mean(over.axes, keepdim=True).expand_as(x).contiguous()


def map_tensors(function: Callable[[Tensor], Tensor], value: Any) -> Any:
    """Apply a function to all floating tensors in tuples, lists, dictionaries and query features."""
    if isinstance(value, Tensor):
        return function(value) if value.is_floating_point() else value
    if isinstance(value, QueryFeatures):
        beside = {key: map_tensors(function, item) for key, item in vars(value).items()}
        return QueryFeatures([map_tensors(function, item) for item in value], **beside)
    if isinstance(value, tuple) and hasattr(value, '_fields'):
        return type(value)(*(map_tensors(function, item) for item in value))
    if isinstance(value, (list, tuple)):
        return type(value)(map_tensors(function, item) for item in value)
    if isinstance(value, dict):
        return {key: map_tensors(function, item) for key, item in value.items()}
    return value


def trace_outputs(model: nn.Module, runs: Iterable[Callable[[], Any]]) -> dict[str, OutputAxes]:
    """Find which modules run, and over which axes of their outputs the mean is one over space or tokens.

    Args:
        model: The model.
        runs: Predictions of images of different heights and widths. An axis that differs between them is spatial.

    Returns:
        For each module that gave tensors the axes, see :func:`mean_axes`.
    """
    seen: list[dict[str, list[tuple[int, tuple[int, ...]]]]] = []

    def track(name: str, forward: Callable) -> Callable:
        def tracked(*args: Any, **kwargs: Any) -> Any:
            output = forward(*args, **kwargs)
            found: list[Tensor] = []
            map_tensors(lambda x: found.append(x) or x, output)
            seen[-1].setdefault(name, []).extend((place, tuple(x.shape)) for place, x in enumerate(found))
            return output

        return tracked

    with ExitStack() as stack:
        for name, module in model.named_modules():
            stack.enter_context(mock.patch.object(module, 'forward', track(name, module.forward)))
        for run in runs:
            seen.append({})
            run()
    traced: dict[str, OutputAxes] = {}
    for name, outputs in seen[0].items():
        shapes: dict[tuple[int, int], list[list[tuple[int, ...]]]] = {}
        for same_output in zip(outputs, *(run.get(name, ()) for run in seen[1:]), strict=False):
            place, shape = same_output[0]
            shapes.setdefault((place, len(shape)), []).append([s for _, s in same_output])
        found = {key: mean_axes(key[1], calls) for key, calls in shapes.items()}
        traced[name] = {key: over for key, over in found.items() if over.axes}
    return traced


def mean_axes(ndim: int, calls: Sequence[Sequence[tuple[int, ...]]]) -> MeanAxes:
    """The axes, without the first, that differ in shape between images; if none does, those of tokens.

    Args:
        ndim: Number of axes.
        calls: For each call of a module the shapes of its output for the images.

    Returns:
        Tokens are (B, N, C), and all of the axes between the first and the last; in (B, C, H, W) the last two. An axis
        of length 1 is none to take a mean over.
    """
    grown = {i for shapes in calls for i in range(1, ndim) if len({s[i] for s in shapes if len(s) == ndim}) > 1}
    if grown:
        return MeanAxes(tuple(sorted(grown)), spatial=True)
    axes = (2, 3) if ndim == 4 else range(1, ndim - 1)
    return MeanAxes(tuple(i for i in axes if any(s[0][i] > 1 for s in calls)), spatial=False)


def list_parts(
    model: nn.Module, traced: Mapping[str, OutputAxes], depth: int = 2, patterns: Iterable[str] = ()
) -> list[ModelPart]:
    """List the parts of backbone, neck and heads that have parameters and run in a prediction.

    Args:
        model: The model.
        traced: What :func:`trace_outputs` found.
        depth: Levels below the model. The first, backbone, neck and head as wholes, is listed only if it is the last.
            Lists of modules, and other modules that do not run themselves, are no level.
        patterns: Names with shell-style wildcards; then these parts are listed, of any level.

    Raises:
        ArgumentError: If no part has a name of a pattern.
    """
    patterns = list(patterns)
    parts: list[ModelPart] = []

    def visit(name: str, module: nn.Module, level: int) -> None:
        children = [(key, child) for key, child in module.named_children() if any(True for _ in child.parameters())]
        runs = name in traced and name != ''
        if runs and (level or depth == 1 or patterns or not children):
            parts.append(ModelPart(name, type(module).__name__, module, None, traced[name]))
        level += runs
        if runs and level >= depth and not patterns:
            return
        # Those of a module without children are in its output. Embeddings are tables that nothing may look up.
        if children or (isinstance(module, nn.Embedding) and not runs):
            for key, value in module.named_parameters(recurse=False):
                tokens = MeanAxes(tuple(range(value.ndim - 1)), spatial=False)
                axes = {(0, value.ndim): tokens} if value.ndim > 1 and value[..., 0].numel() > 1 else {}
                parts.append(ModelPart(f'{name}.{key}', 'Parameter', module, key, axes))
        for key, child in children:
            if name or key not in TRAINING_ONLY:
                visit(f'{name}.{key}' if name else key, child, level)

    visit('', model, 0)
    if not patterns:
        return parts
    for pattern in patterns:
        if not any(fnmatchcase(part.name, pattern) for part in parts):
            raise ArgumentError(
                f'--parts {pattern}: no part that runs in a prediction has such a name'
                f'{did_you_mean(pattern, (part.name for part in parts))}'
            )
    return [part for part in parts if any(fnmatchcase(part.name, pattern) for pattern in patterns)]
