"""Every config exports, with open sizes or one size, and equals PyTorch; or its README says why not."""

import pytest
from export_table import export_small, networks
from small_configs import ROOT, name

# Configs that have no graph: part of a name -> what their README says of it, and how the refusal begins.
NOT_EXPORTED = {
    '_wpmd-transform_': ('WPMD of the image', ''),
    '_wpmd-both_': ('WPMD of the image', ''),
    'egpnet_': ('chosen by their values', 'RegionHead has no graph: it labels connected components'),
    'iaanet_': (
        'chosen by their values',
        'InteriorAttentionHead has no graph: its attention takes the pixels of boxes',
    ),
}
NETWORKS = networks()
ORDINARY = ('irsam', 'sgem')  # with one size, and with any
FAMILIES = {
    path.parent.name: path for paths in reversed(NETWORKS) for path in paths[:1] if path.parent.name in ORDINARY
}


@pytest.mark.parametrize('paths', NETWORKS, ids=lambda paths: name(paths[0]))
def test_exports(paths, all_tests, tmp_path):
    path = paths[0]
    refused = any(part in path.stem for part in NOT_EXPORTED)
    if not all_tests and not refused and path not in FAMILIES.values():
        pytest.skip('another of the family is exported; MMIRSTD_ALL_TESTS=1 exports all')
    # torch.export takes most of the way; the conversion of each operation to ONNX is for the long run.
    cells = export_small(path, tmp_path / ('model.onnx' if all_tests else 'model.pt2'))
    if said := [text for part, text in NOT_EXPORTED.items() if part in path.stem]:
        assert cells['exports'] == 'no'
        documented, refusal = said[0]
        assert cells['reason'].startswith(refusal)
        assert not refusal or '--static' not in cells['reason']
        assert documented in ' '.join((ROOT / path.parent.name / 'README.md').read_text(encoding='utf-8').split())
    else:
        assert cells['exports'] in ('any size', 'one size'), cells['reason']
        assert float(cells['difference']) < 1e-3
