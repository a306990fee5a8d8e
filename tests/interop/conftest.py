"""Weights that tests use where they are there."""

import hashlib
import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MOBILE_SAM_SHA256 = '6dbb90523a35330fedd7f1d3dfc66f995213d81b29a5ca8108dbcdd4e37d6c2f'


@pytest.fixture(scope='session')
def mobile_sam() -> str:
    """Path of ``mobile_sam.pt``: MMIRSTD_MOBILE_SAM, or data/weights/ in or beside the checkout."""
    asked = os.environ.get('MMIRSTD_MOBILE_SAM')
    for path in [Path(asked)] if asked else [p / 'data/weights/mobile_sam.pt' for p in (ROOT, ROOT.parent)]:
        if path.is_file():
            assert hashlib.sha256(path.read_bytes()).hexdigest() == MOBILE_SAM_SHA256
            return str(path)
    if asked:
        pytest.fail(f'MMIRSTD_MOBILE_SAM={asked} is no file')
    pytest.skip("MobileSAM's weights are not there: set MMIRSTD_MOBILE_SAM to mobile_sam.pt")
    return ''
