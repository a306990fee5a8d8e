"""Curves for TensorBoard where it is installed."""

from typing import Any

from mmengine.logging import print_log
from mmengine.visualization import TensorboardVisBackend

from mmirstd.registry import VISBACKENDS


class _NoWriter:
    """Takes everything a ``SummaryWriter`` takes and does nothing."""

    def __getattr__(self, name: str) -> Any:
        return lambda *args, **kwargs: None


@VISBACKENDS.register_module()
class OptionalTensorboardVisBackend(TensorboardVisBackend):
    """MMEngine's backend, which writes nothing where tensorboard is not installed; the log says so."""

    def _init_env(self) -> None:
        try:
            super()._init_env()
        except ImportError:
            print_log('no curves for TensorBoard, which is not installed (pip install tensorboard)', logger='current')
            self._tensorboard = _NoWriter()
