"""Images and sampling of golden/mobile_sam.json: what MobileSAM's own encoder makes of two images, at a few places.

The numbers are of ChaoningZhang/MobileSAM at 34bbbfd, class ``TinyViT`` of ``mobile_sam/modeling/tiny_vit_sam.py`` as
its builder calls it, with the weights ``mobile_sam.pt``, torch 2.12.1 and timm 1.0.31: ``early`` is what ``layers[1]``
returns, its merging included, as IRSAM's and HQ-SAM's code take it, and ``neck`` what the whole returns; :func:`sample`
of each.
"""

from pathlib import Path

import numpy as np
import torch
from PIL import Image

GOLDEN = Path(__file__).parent / 'golden/mobile_sam.json'
# SAM's normalisation.
MEAN, STD = torch.tensor([123.675, 116.28, 103.53]), torch.tensor([58.395, 57.12, 57.375])


def normalise(image: np.ndarray) -> torch.Tensor:
    """(H, W, 3) of 0..255 to (1, 3, H, W)."""
    return ((torch.as_tensor(image, dtype=torch.float32) - MEAN) / STD).permute(2, 0, 1)[None].contiguous()


def synthetic_image() -> torch.Tensor:
    """(1, 3, 1024, 1024): waves of three directions and lengths, and a bright spot."""
    y, x = np.mgrid[:1024, :1024].astype(np.float64)
    waves = [100 + 60 * np.sin(2 * np.pi * (a * x + b * y) / 1024) for a, b in ((3, 1), (17, -5), (40, 61))]
    spot = 90 * np.exp(-((x - 700) ** 2 + (y - 300) ** 2) / 200)
    return normalise(np.stack([(w + spot).clip(0, 255) for w in waves], -1))


def real_image(path: Path) -> torch.Tensor:
    """(1, 3, 1024, 1024): an image of 256 x 256 with every pixel repeated."""
    image = np.asarray(Image.open(path).convert('RGB'))
    return normalise(np.kron(image, np.ones((4, 4, 1))))


def sample(maps: dict[str, torch.Tensor]) -> dict[str, dict]:
    """Mean, standard deviation and 128 values of each map (1, C, 64, 64)."""
    out = {}
    for name, x in maps.items():
        values = x[0, :: x.shape[1] // 8, 5::16, 3::16].double()
        out[name] = {
            'mean': x.double().mean().item(),
            'std': x.double().std().item(),
            'values': [round(v, 6) for v in values.flatten().tolist()],
        }
    return out
