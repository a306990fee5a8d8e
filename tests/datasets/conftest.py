"""Fixtures of the dataset tests."""

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

# Tests import modules of this folder.
sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(autouse=True)
def no_garbage_collection(monkeypatch):
    """MMEngine collects garbage for each list it serialises: the better part of a second with torch loaded."""
    monkeypatch.setattr('mmengine.dataset.base_dataset.gc', SimpleNamespace(collect=lambda: None))
