"""Write golden/mobile_sam.json: what MobileSAM's own encoder makes of two images, at a few places.

    git clone https://github.com/ChaoningZhang/MobileSAM  (34bbbfd was used)
    python tests/interop/make_mobile_sam_golden.py MobileSAM/mobile_sam/modeling/tiny_vit_sam.py mobile_sam.pt IMAGE

IMAGE is NUDT-SIRST's images/000001.png. The code is imported as it is; it needs timm.
"""

import importlib.util
import json
import sys
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


def main(code: str, weights: str, image: str) -> None:
    """Run the reference on both images."""
    spec = importlib.util.spec_from_file_location('tiny_vit_sam', code)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # timm's registry looks for it
    spec.loader.exec_module(module)
    net = module.TinyViT(
        img_size=1024,
        embed_dims=[64, 128, 160, 320],
        depths=[2, 2, 6, 2],
        num_heads=[2, 4, 5, 10],
        window_sizes=[7, 7, 14, 7],
        drop_path_rate=0.0,
    )
    state = torch.load(weights, weights_only=True)
    net.load_state_dict({k.removeprefix('image_encoder.'): v for k, v in state.items() if k.startswith('image_enc')})
    net.eval()
    golden = {}
    for name, x in {'synthetic': synthetic_image(), 'NUDT-SIRST 000001': real_image(Path(image))}.items():
        with torch.no_grad():
            # As in IRSAM's and HQ-SAM's code: the early feature is what the second layer returns, its merging included.
            early = net.layers[1](net.layers[0](net.patch_embed(x)))
            maps = {'early': early.transpose(1, 2).unflatten(2, (64, 64)), 'neck': net(x)}
        golden[name] = sample(maps)
    GOLDEN.parent.mkdir(exist_ok=True)
    GOLDEN.write_text(json.dumps(golden) + '\n')


if __name__ == '__main__':
    main(*sys.argv[1:])
