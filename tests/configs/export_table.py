"""Write docs/results/export.md: which configs export, with open sizes or one, and how near they are to PyTorch.

``make exports`` runs it. The models are the shrunk ones of the tests. It takes some twenty minutes of two cores.
Rows that are finished are kept in ``--rows``, so an interrupted run goes on. A network that fails has a row, too, and
makes the exit status 1.
"""

import argparse
import json
import sys
import tempfile
from collections import defaultdict
from pathlib import Path

import torch

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(Path(__file__).parent), str(ROOT / 'tests/models')]

from perturbation import randomize  # noqa: E402
from small_configs import CONFIGS, is_buildable, logits_of, network_of, parse, shrink, small_model  # noqa: E402

from mmirstd.apis.export_parity import parity_images  # noqa: E402
from mmirstd.apis.exported_graph import ExportError  # noqa: E402
from mmirstd.apis.exporting import export_model  # noqa: E402
from mmirstd.datasets.base import IRSTDDataset  # noqa: E402
from mmirstd.io.files import write_atomically  # noqa: E402
from mmirstd.io.tables import markdown_rows  # noqa: E402
from mmirstd.models.layers.reparam import switch_to_deploy  # noqa: E402
from mmirstd.utils.errors import UserError  # noqa: E402
from mmirstd.utils.text import first_line  # noqa: E402
from mmirstd.utils.workers import map_in_processes  # noqa: E402

TARGET = ROOT / 'docs/results/export.md'
STATIC = (64, 96)
FAILED = 'fails'
# Drawn at random it is chaotic: PyTorch's float32 and float64 themselves differ by 0.98.
AS_INITIALIZED = ('uiunet',)
PAGE = """# Export of all configs

All shipped configs, shrunk to a few channels, with all parameters and statistics drawn at random (UIUNet's as they are
initialized: drawn, PyTorch's own float32 and float64 differ). Each is exported to
ONNX as `mmirstd export` does it, and run by onnxruntime on synthetic scenes of several sizes. The difference is the
largest of two probabilities, onnxruntime's and PyTorch's. *Any size*: batch, height and width are open. *One size*:
with `--static HxW`. Configs of one row have the same network when they are shrunk. `make exports` writes this page.

{table}
"""


class TableError(UserError, RuntimeError):
    """Configs that should export do not."""


def exportable(path: Path) -> torch.nn.Module:
    """The shrunk model of a config as :func:`mmirstd.apis.init_model` returns it, drawn at random."""
    torch.manual_seed(0)
    model = small_model(path).eval().requires_grad_(False)
    if not path.stem.startswith(AS_INITIALIZED):
        model = randomize(model, 0, logits_of(path, model))
    model.cfg, model.operating_point, model.dataset_meta = shrink(parse(path)), None, IRSTDDataset.METAINFO
    switch_to_deploy(model)
    return model


def export_small(path: Path, out: Path) -> dict[str, str]:
    """Export a shrunk config with open sizes, or else with one; returns the cells of its row.

    Raises:
        ParityError: If the file predicts something else.
    """
    settings = dict(channels=1, dtype='uint8', threshold=None, tolerance=1e-3)
    reason = ''
    for size, words in ((None, 'any size'), (STATIC, 'one size')):
        try:
            report = export_model(exportable(path), out, size=size, compared=parity_images(None, size), **settings)
        except ExportError as error:
            reason = reason or str(error)
            continue
        difference = max(parity.difference for parity in report.parity)
        return {'exports': words, 'difference': f'{difference:.1g}', 'reason': reason}
    return {'exports': 'no', 'difference': '', 'reason': str(reason)}


def measure(paths: list[Path]) -> dict[str, str]:
    """The row of configs with one network."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        try:
            cells = export_small(paths[0], Path(folder, 'model.onnx'))
        except Exception as error:  # of one network: the others' rows are kept
            cells = {'exports': FAILED, 'difference': '', 'reason': first_line(error)}
    return {'configs': config_names(paths)} | cells


def config_names(paths: list[Path]) -> str:
    """The first cell of the row of configs with one network."""
    return '<br>'.join(f'`{path.stem}`' for path in paths)


def networks() -> list[list[Path]]:
    """Configs with the same network and the same way to it, together."""
    found = defaultdict(list)
    for path in CONFIGS:
        if is_buildable(path):
            cfg = shrink(parse(path))
            found[network_of(path), repr(cfg.model.data_preprocessor), repr(cfg.get('test_pipeline'))].append(path)
    return list(found.values())


def main() -> None:
    """Export all networks, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--workers', type=int, default=2, help='processes (default: 2)')
    parser.add_argument('--rows', type=Path, default=ROOT / '.exports.jsonl', help='finished rows, removed at the end')
    args = parser.parse_args()
    groups = networks()
    finished = [json.loads(line) for line in args.rows.read_text().splitlines()] if args.rows.exists() else []
    rows = {row['configs']: row for row in finished if row['exports'] != FAILED}
    todo = [paths for paths in groups if config_names(paths) not in rows]
    with open(args.rows, 'a') as file:
        for row in map_in_processes(measure, todo, args.workers, 'networks', TableError):
            rows[row['configs']] = row
            print(json.dumps(row), file=file, flush=True)
    rows = [rows[config_names(paths)] for paths in groups]
    write_atomically(TARGET, PAGE.format(table=markdown_rows(rows)))
    args.rows.unlink()
    if failed := [row['configs'] for row in rows if row['exports'] == FAILED]:
        raise TableError(f'these fail: {"; ".join(failed)}')


if __name__ == '__main__':
    main()
