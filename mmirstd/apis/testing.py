"""Evaluation of a model on the test set of its config."""

# ruff: noqa: PT028 - a function called test, but not one of pytest's

import os.path as osp
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from mmengine.config import Config

from mmirstd.apis.configuration import CfgOptions, OptionError, run_config
from mmirstd.apis.inference import checkpoint_for
from mmirstd.apis.running import running
from mmirstd.apis.tta import use_tta
from mmirstd.evaluation.functional.protocols import PRESETS
from mmirstd.io.files import refuse_no_folder
from mmirstd.utils.errors import ArgumentError
from mmirstd.utils.text import as_list


class EvaluationResult(NamedTuple):
    """The metrics of a test, and its log file."""

    metrics: dict[str, float]
    log: str


def test(
    config: str | Path | Config,
    checkpoint: str | Path | None = None,
    *,
    work_dir: str | Path | None = None,
    data_root: str | Path | None = None,
    cfg_options: CfgOptions | None = None,
    allow_overlap: Sequence[str] = (),
    show_dir: str | Path | None = None,
    presets: Sequence[str] = (),
    out: str | Path | None = None,
    out_format: str = 'png',
    tta: bool = False,
    overwrite: bool = False,
    launcher: str = 'none',
) -> EvaluationResult:
    """Evaluate a model, folded as it is deployed, on the test set of its config.

    Args:
        config: Path or name of a config, or a config.
        checkpoint: Path or address; by default the weights that come with the package. A model without weights, a
            classical detector, takes none.
        work_dir: Where to write; by default a folder ``test`` in what the config says, or in ``work_dirs/NAME``.
        data_root: Folder of the dataset; by default what the config says.
        cfg_options: Changes of the config: dotted keys and values, or ``'KEY=VALUE'`` texts.
        allow_overlap: Names of datasets, or of splits of them, that the model may have been trained on.
        show_dir: Draw every image with its detections into this folder.
        presets: Evaluate as published code does, side by side: names of protocols, or ``'all'``.
        out: Save the predictions into this folder.
        out_format: ``'png'``: 255 * p, at least 128 where p > 0.5; ``'npz'``: the probabilities.
        tta: Average the probabilities over the image and its two mirror images, or over what the config's
            ``tta_pipeline`` and ``tta_model`` say.
        overwrite: Allow replacing files in ``show_dir`` and ``out``; images and masks of the set are never replaced.
        launcher: ``'none'``, ``'pytorch'`` (torchrun) or ``'slurm'``.

    Returns:
        The metrics, and the log file.

    Raises:
        FileExistsError: If a file would be replaced, before the first image.
        FolderInUseError: If another process runs in ``work_dir``.
        CheckpointError: If the checkpoint is missing or does not fit.
        OptionError: If one is given for a model without weights.
        OverlapError: If the model was trained on images of the test set.
    """
    cfg = run_config(
        config,
        ('test',),
        cfg_options=cfg_options,
        data_root=data_root,
        work_dir=work_dir,
        allow_overlap=allow_overlap,
        launcher=launcher,
        subfolder='test',  # beside the training run: the runner writes its config into the folder
    )
    checkpoint = checkpoint_for(config, checkpoint)
    for folder in filter(None, (out, show_dir)):
        refuse_no_folder(folder)
    if out and show_dir and out_format == 'png' and osp.realpath(out) == osp.realpath(show_dir):
        raise OptionError(f'--out and --show-dir are both {out}: pictures and predictions have the same names')
    cfg.load_from, cfg.resume = checkpoint, False
    hooks = list(cfg.get('custom_hooks') or [])
    if not any(h.get('type') == 'mmirstd.SwitchToDeployHook' for h in hooks):
        hooks.append(dict(type='mmirstd.SwitchToDeployHook'))
    if presets:
        set_presets(cfg, presets)
    if tta:
        use_tta(cfg)
    if out:
        saving = dict(out_dir=str(out), out_format=out_format, overwrite=overwrite)
        hooks.append(dict(type='mmirstd.SavePredictionsHook', **saving))
    cfg.custom_hooks = hooks
    # Without a folder nothing is drawn: a config's own drawing is for validation, and a test set is large.
    defaults = cfg.setdefault('default_hooks', {})
    defaults.pop('visualization', None)
    if show_dir:
        defaults['visualization'] = dict(
            type='mmirstd.IRSTDVisualizationHook', draw=True, show_dir=str(show_dir), overwrite=overwrite
        )
    with running(cfg) as runner:
        metrics = runner.test()
    return EvaluationResult(metrics, osp.join(runner.log_dir, f'{runner.timestamp}.log'))


def set_presets(cfg: Config, presets: Sequence[str]) -> None:
    """Have the metric evaluate with these presets.

    Raises:
        ArgumentError: If there is no such preset.
        OptionError: If the config's test_evaluator has no metric that can.
    """
    presets = as_list(presets)
    if unknown := [name for name in presets if name not in (*PRESETS, 'all')]:
        raise ArgumentError(f'--preset {unknown[0]}: there are {", ".join(PRESETS)} and all')
    metrics = [
        m for m in _as_list(cfg.get('test_evaluator')) if m.get('type') in ('mmirstd.IRSTDMetric', 'IRSTDMetric')
    ]
    if not metrics:
        raise OptionError('--preset: the test_evaluator of the config has no mmirstd.IRSTDMetric')
    for metric in metrics:
        metric.presets = list(dict.fromkeys(PRESETS if 'all' in presets else presets))


def _as_list(evaluator: Any) -> list:
    if isinstance(evaluator, dict) and 'metrics' in evaluator:  # an Evaluator
        evaluator = evaluator['metrics']
    return [evaluator] if isinstance(evaluator, dict) else list(evaluator or [])
