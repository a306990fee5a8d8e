"""A state dict with the names and shapes of torchvision's ResNet-18, of any width."""

import torch


def torchvision_state(width=64, classes=10):
    """Random weights, as the published files without counters of batch norms."""
    generator = torch.Generator().manual_seed(3)
    shapes = {'conv1.weight': (width, 3, 7, 7)} | _norm('bn1', width)
    for stage in range(4):
        wide = width * 2**stage
        for block in range(2):
            name, enters = f'layer{stage + 1}.{block}', wide // 2 if stage and not block else wide
            shapes |= {f'{name}.conv1.weight': (wide, enters, 3, 3)} | _norm(f'{name}.bn1', wide)
            shapes |= {f'{name}.conv2.weight': (wide, wide, 3, 3)} | _norm(f'{name}.bn2', wide)
            if enters != wide:
                shapes |= {f'{name}.downsample.0.weight': (wide, enters, 1, 1)} | _norm(f'{name}.downsample.1', wide)
    shapes |= {'fc.weight': (classes, 8 * width), 'fc.bias': (classes,)}
    return {key: 0.1 * torch.rand(shape, generator=generator) for key, shape in shapes.items()}


def _norm(name, width):
    return {f'{name}.{key}': (width,) for key in ('weight', 'bias', 'running_mean', 'running_var')}
