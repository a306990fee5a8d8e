"""Write docs/results/perturbation.md: how much each part of each config's network moves the logits.

``make perturbation`` runs it. The models are the shrunk ones of the tests. It takes some minutes.
"""

import statistics
import sys
from collections import defaultdict
from pathlib import Path

import torch

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(Path(__file__).parent), str(ROOT / 'tests/models')]

from perturbation import allowed_here, part_effects, stubs  # noqa: E402
from small_configs import CONFIGS, is_buildable, logits_of, name, network_of, small_model  # noqa: E402
from test_parts_of_configs import ALLOWED, SHIFTS  # noqa: E402

from mmirstd.io.files import write_atomically  # noqa: E402
from mmirstd.io.tables import markdown_rows  # noqa: E402
from mmirstd.utils.errors import UserError  # noqa: E402
from mmirstd.utils.workers import map_in_processes  # noqa: E402

# Levels of modules; the test goes down to single layers.
DEPTH = 4
TARGET = ROOT / 'docs/results/perturbation.md'
PAGE = """# Perturbation of all configs

A part that changes no prediction is a stub, however well the network trains. This table has the networks of all
shipped configs, shrunk to a few channels. All their parameters and statistics are drawn at random. The parameters of
one part at a time are drawn once more, four levels of modules down, and query embeddings. The effect is the standard
deviation of the change of the final logits, as a fraction of their own. In one draw a part may be silent by chance,
so what is below 1 % is drawn up to three times, and the largest effect counts.

`tests/configs/test_parts_of_configs.py` goes down to single layers, and fails where an effect is below 1 %, unless
the part stands on a list of the test, with a reason. Configs of one row have the same network when they are
shrunk. `make perturbation` writes this page.

{table}

Of the parts that are left out, no prediction needs the first, and a standard deviation does not see the last:

{allowed}
"""


class PerturbationError(UserError, RuntimeError):
    """A network cannot be measured, or has parts that change no prediction."""


def measure(paths: list[Path]) -> tuple[dict[str, object], list[str]]:
    """Measure the network of these configs; returns a row of the table, and the parts that may not be so weak."""
    torch.set_num_threads(1)
    model = small_model(paths[0])
    effects = part_effects(model, logits_of(paths[0], model), depth=DEPTH)
    allowed = allowed_here(effects, ALLOWED | SHIFTS)
    weak = [f'{name(paths[0])}: {part} {effect:.2%}' for part, effect in stubs(effects, allowed).items()]
    needed = {part: effect for part, effect in effects.items() if not part.startswith(tuple(allowed))}
    weakest = min(needed, key=needed.get)
    row = {
        'configs': '<br>'.join(f'`{path.stem}`' for path in paths),
        'parts': len(effects),
        'left out': len(effects) - len(needed),
        'median effect': f'{statistics.median(needed.values()):.0%}',
        'smallest effect': f'{needed[weakest]:.1%}',
        'of': f'`{weakest}`',
    }
    return row, weak


def main() -> None:
    """Measure all networks, and write the page."""
    networks = defaultdict(list)
    for path in CONFIGS:
        if is_buildable(path):
            networks[network_of(path)].append(path)
    rows, weak = zip(*map_in_processes(measure, list(networks.values()), 2, 'networks', PerturbationError), strict=True)
    allowed = markdown_rows(
        [{'parts': f'`{prefix}*`', 'reason': reason} for prefix, reason in (ALLOWED | SHIFTS).items()]
    )
    write_atomically(TARGET, PAGE.format(table=markdown_rows(rows), allowed=allowed))
    print(f'written to {TARGET}')
    if found := [line for lines in weak for line in lines]:
        raise SystemExit('\n'.join(['Parts below 1 % that are not allowed:', *found]))


if __name__ == '__main__':
    main()
