"""The hook that saves what a model predicts on a test set."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from mmengine.dist import barrier
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmseg.structures import SegDataSample

from mmirstd.evaluation.analysis.predictions import write_prediction
from mmirstd.io.files import refuse_overwriting
from mmirstd.io.names import sample_files, sample_names
from mmirstd.ops.samples import probability_map
from mmirstd.registry import HOOKS


@HOOKS.register_module()
class SavePredictionsHook(Hook):
    """Writes the probabilities of every test image as ``NAME.png`` or ``NAME.npz``, by every process.

    A PNG holds ``255 * p``, rounded such that the values from 128 on are those with p > 0.5; an npz holds p itself as
    'probability'. Names are those of :func:`mmirstd.io.names.sample_names`. The files are what ``mmirstd eval`` reads.

    Args:
        out_dir: Folder, made where it is not there.
        out_format: ``'png'`` or ``'npz'``.
        dtype: Of an npz: ``'float32'``, or ``'float16'``, in which p > 0.5 stays true.
        overwrite: Whether files may be replaced.

    Raises:
        FileExistsError: Before the first image, if one of the files is there already and may not be replaced; one that
            the test reads never may.
    """

    def __init__(
        self,
        out_dir: str,
        out_format: Literal['png', 'npz'] = 'png',
        dtype: Literal['float16', 'float32'] = 'float32',
        overwrite: bool = False,
    ) -> None:
        if out_format not in ('png', 'npz'):
            raise ValueError(f"SavePredictionsHook: out_format must be 'png' or 'npz', not {out_format!r}")
        if dtype not in ('float16', 'float32'):
            raise ValueError(f"SavePredictionsHook: dtype must be 'float16' or 'float32', not {dtype!r}")
        self.out_dir = Path(out_dir)
        self.out_format = out_format
        self.dtype = dtype
        self.overwrite = overwrite
        self._files: dict[str, Path] = {}

    def before_test_epoch(self, runner: Runner) -> None:
        """Name the files, and see that none of them is there."""
        names = sample_names(runner.test_dataloader.dataset)
        self._files = {path: self.out_dir / f'{name}.{self.out_format}' for path, name in names.items()}
        refuse_overwriting(self._files.values(), self.overwrite, sample_files(runner.test_dataloader.dataset))
        barrier()  # no process writes before all have looked

    def after_test_iter(
        self, runner: Runner, batch_idx: int, data_batch: Mapping, outputs: Sequence[SegDataSample]
    ) -> None:
        """Write the files of a batch."""
        for sample in outputs:
            probability = probability_map(sample, str(sample.img_path))
            write_prediction(self._files[sample.img_path], probability, self.dtype)
