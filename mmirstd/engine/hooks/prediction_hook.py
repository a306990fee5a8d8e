"""The hook that saves what a model predicts on a test set."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from mmengine.dist import barrier
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmseg.structures import SegDataSample

from mmirstd.evaluation.analysis.predictions import write_prediction
from mmirstd.registry import HOOKS


@HOOKS.register_module()
class SavePredictionsHook(Hook):
    """Writes the probabilities of every test image as ``ID.png`` or ``ID.npz``, by every process; replaces no file.

    A PNG holds ``255 * p``, rounded such that the values from 128 on are those with p > 0.5; an npz holds p itself as
    'probability'. Where a set has an id twice, the position in the set goes before it. The files are what
    ``tools/analysis_tools/eval_predictions.py`` reads.

    Args:
        out_dir: Folder, made where it is not there.
        out_format: ``'png'`` or ``'npz'``.
        dtype: Of an npz: ``'float32'``, or ``'float16'``, in which p > 0.5 stays true.

    Raises:
        FileExistsError: Before the first image, if one of the files is there already.
    """

    def __init__(
        self,
        out_dir: str,
        out_format: Literal['png', 'npz'] = 'png',
        dtype: Literal['float16', 'float32'] = 'float32',
    ) -> None:
        if out_format not in ('png', 'npz'):
            raise ValueError(f"SavePredictionsHook: out_format must be 'png' or 'npz', not {out_format!r}")
        if dtype not in ('float16', 'float32'):
            raise ValueError(f"SavePredictionsHook: dtype must be 'float16' or 'float32', not {dtype!r}")
        self.out_dir = Path(out_dir)
        self.out_format = out_format
        self.dtype = dtype
        self._files: dict[str, Path] = {}

    def before_test_epoch(self, runner: Runner) -> None:
        """Name the files, and see that none of them is there."""
        names = prediction_names(runner.test_dataloader.dataset)
        self._files = {path: self.out_dir / f'{name}.{self.out_format}' for path, name in names.items()}
        if found := [str(file) for file in self._files.values() if file.exists()]:
            more = f' and {len(found) - 3} more' if len(found) > 3 else ''
            raise FileExistsError(
                f'{", ".join(found[:3])}{more} would be replaced: choose another folder for the predictions'
            )
        barrier()  # no process writes before all have looked

    def after_test_iter(
        self, runner: Runner, batch_idx: int, data_batch: Mapping, outputs: Sequence[SegDataSample]
    ) -> None:
        """Write the files of a batch."""
        for sample in outputs:
            logits = sample.get('seg_logits')
            if logits is None or len(logits.data) != 1:
                found = 'none' if logits is None else f'seg_logits of {tuple(logits.data.shape)}'
                raise ValueError(
                    f'{sample.img_path}: to be saved, probabilities of one channel are needed, got {found}'
                )
            write_prediction(self._files[sample.img_path], logits.data[0].detach().float().cpu().numpy(), self.dtype)


def prediction_names(dataset: Any) -> dict[str, str]:
    """A relative file name without suffix for each `img_path` of an mmengine dataset, no name twice.

    It is the `img_id`, so that predictions and masks pair by name; a slash in it makes a folder.
    """
    infos = [dataset.get_data_info(i) for i in range(len(dataset))]
    names = []
    for info in infos:
        parts = PurePosixPath(str(info.get('img_id') or Path(info['img_path']).stem).replace('\\', '/')).parts
        names.append('/'.join(re.sub(r'[^\w.() -]+', '_', p) for p in parts if p not in ('..', '/')))
    seen = Counter(names)
    return {
        info['img_path']: name if seen[name] == 1 else f'{i:06d}_{name.replace("/", "_")}'
        for i, (info, name) in enumerate(zip(infos, names, strict=True))
    }
