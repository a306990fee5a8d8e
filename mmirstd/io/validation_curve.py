"""The file in a work dir that has a line for each validation of a training."""

import json
from pathlib import Path
from typing import Any

VALIDATION_CURVE = 'validation.jsonl'


def read_validation_curve(path: str | Path) -> list[dict[str, Any]]:
    """Read the lines: ``iter``, ``seconds``, ``processor_seconds`` and the metrics.

    Raises:
        ValueError: If a line is not JSON; the message names file and line.
    """
    found = []
    for number, line in enumerate(Path(path).read_text(encoding='utf-8').splitlines(), 1):
        try:
            found.append(json.loads(line))
        except json.JSONDecodeError as error:
            raise ValueError(f'{path}, line {number}: {error}') from None
    return found
