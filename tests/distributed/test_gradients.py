"""Gradients averaged over processes are those of one process with the whole batch; which losses are not."""

from pathlib import Path

import pytest
import torch
from gradient_worker import CASES, compare
from processes import launch

CONFIG = Path(__file__).with_name('simir_tiny.py')
# Their means are over something that the processes have unequal shares of, or random.
NOT_EXACT = ('BCE with ignored pixels', 'IoU of the batch', 'points')


@pytest.mark.parametrize('world', [pytest.param(2, marks=pytest.mark.exhaustive), 3])
def test_averaged_gradients(world, tmp_path):
    """Two steps each: with a parameter that has no use, DDP refuses the second."""
    launch(compare, world, tmp_path, CONFIG, tmp_path)
    for rank in range(world):
        results = torch.load(tmp_path / f'{rank}.pth', weights_only=True)
        assert results.keys() == CASES.keys()
        for name, (differences, zero) in results.items():
            print(world, name, differences, zero)
            assert len(differences) == 2
            assert not zero
            # Of three processes DDP takes the mean with a factor of 1/3 in float32, whatever the gradients are.
            exact = 1e-6 if 'float32' in name else {2: 1e-13, 3: 1e-7}[world]
            for difference in differences:
                assert difference > 1e-3 if name in NOT_EXACT else difference < exact, (name, difference)
