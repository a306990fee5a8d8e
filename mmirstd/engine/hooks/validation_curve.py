"""The curve of a training: metrics, time and processor time at each validation."""

import json
import time
from pathlib import Path
from typing import Any

from mmengine.dist import master_only
from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmirstd.io.files import write_atomically
from mmirstd.io.tables import plain
from mmirstd.io.validation_curve import VALIDATION_CURVE, read_validation_curve
from mmirstd.registry import HOOKS
from mmirstd.utils.processor_time import processor_seconds

_ELAPSED = 'elapsed_seconds'


@HOOKS.register_module()
class ValidationCurveHook(Hook):
    """Writes a line of ``validation.jsonl`` in the work dir at each validation: ``iter``, ``seconds``, metrics.

    ``seconds`` is the time since training began, validations included, and ``processor_seconds`` that of the process
    and its loaders' workers. Checkpoints carry both. A resumed run goes on counting from its checkpoint, and lines of
    what it does again are dropped.
    """

    def __init__(self) -> None:
        self._base = [0.0, 0.0]
        self._start = [0.0, 0.0]
        self._lines: list[dict[str, Any]] = []

    def before_train(self, runner: Runner) -> None:
        """Start counting, from what the checkpoint says."""
        self._base = [float(value) for value in runner.message_hub.runtime_info.get(_ELAPSED, (0.0, 0.0))]
        self._start = [time.monotonic(), processor_seconds()]
        path = Path(runner.work_dir, VALIDATION_CURVE)
        earlier = read_validation_curve(path) if path.is_file() else []
        self._lines = [line for line in earlier if line['iter'] <= runner.iter]

    def after_train_iter(self, runner: Runner, *args: Any, **kwargs: Any) -> None:
        """Have the next checkpoint carry the time."""
        runner.message_hub.update_info(_ELAPSED, self._elapsed())

    @master_only
    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        """Write a line."""
        if not metrics or not runner.iter:
            return
        seconds, of_processor = self._elapsed()
        line = {'iter': runner.iter, 'seconds': round(seconds, 1), 'processor_seconds': round(of_processor, 1)}
        line |= {name: value for name, value in metrics.items() if isinstance(value, int | float)}
        # A run that was ended between checkpoint and validation validates its iteration again.
        self._lines = [*(earlier for earlier in self._lines if earlier['iter'] < runner.iter), line]
        text = ''.join(f'{json.dumps(plain(line))}\n' for line in self._lines)
        write_atomically(Path(runner.work_dir, VALIDATION_CURVE), text)

    def _elapsed(self) -> list[float]:
        now = time.monotonic(), processor_seconds()
        return [base + after - before for base, after, before in zip(self._base, now, self._start, strict=True)]
