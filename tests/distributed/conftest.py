import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

# Modules that tests, and the processes they start, import.
sys.path.insert(0, str(Path(__file__).parent))

SIZES = [(32, 32), (37, 51), (24, 40), (48, 33), (29, 29), (32, 56), (41, 35)]


@pytest.fixture(scope='session')
def odd_data(tmp_path_factory):
    """Seven images of seven sizes, with no target, one or two."""
    root = tmp_path_factory.mktemp('data') / 'odd'
    rng = np.random.default_rng(0)
    for name in ('images', 'masks'):
        (root / name).mkdir(parents=True)
    for i, (height, width) in enumerate(SIZES):
        image, mask = rng.normal(60, 5, (height, width)), np.zeros((height, width), np.uint8)
        for _ in range(i % 3):
            y, x = rng.integers(2, 20, 2)
            mask[y : y + 3, x : x + 3] = 255
        image[mask > 0] += 120
        Image.fromarray(image.clip(0, 255).astype(np.uint8)).save(root / f'images/{i}.png')
        Image.fromarray(mask).save(root / f'masks/{i}.png')
    return root
