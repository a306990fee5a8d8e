"""Training."""

import os
import os.path as osp
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from mmengine.config import Config
from mmengine.hooks import CheckpointHook

from mmirstd.apis.configuration import CfgOptions, OptionError, check_checkpoint, refuse_without_weights, run_config
from mmirstd.apis.running import checkpoint_settings, running, say
from mmirstd.checkpoints.loading import latest_checkpoint
from mmirstd.engine.config_checks import check_flags
from mmirstd.engine.run_files import checkpoint_folder, stands_in
from mmirstd.engine.value_checks import check_values
from mmirstd.utils.optimizers import iter_optim_wrappers
from mmirstd.utils.text import as_list


class TrainResult(NamedTuple):
    """Where a training run wrote; None where it wrote nothing."""

    last: str | None
    best: str | None
    log: str
    curves: str


def train(
    config: str | Path | Config,
    *,
    work_dir: str | Path | None = None,
    data_root: str | Path | None = None,
    cfg_options: CfgOptions | None = None,
    allow_overlap: Sequence[str] = (),
    resume: bool | str | Path = False,
    resume_anew: Sequence[str] = (),
    overwrite: bool = False,
    amp: bool = False,
    launcher: str = 'none',
) -> TrainResult:
    """Train the model of a config.

    Args:
        config: Path or name of a config, or a config.
        work_dir: Where to write; by default what the config says, or ``work_dirs/NAME``.
        data_root: Folder of the dataset; by default what the config says.
        cfg_options: Changes of the config: dotted keys and values, or ``'KEY=VALUE'`` texts.
        allow_overlap: Names of datasets, or of splits of them, that may be both trained on and evaluated.
        resume: Continue the latest run in ``work_dir`` (or start if there is none), or from this checkpoint. False: as
            ``resume`` and ``load_from`` of the config say.
        resume_anew: ``'optimizer'``, ``'schedule'`` or both: what a resumed run takes from the config, not from the
            checkpoint. The schedule is then the config's at the iteration that was reached.
        overwrite: Allow replacing the checkpoints in ``work_dir``.
        amp: Mixed precision; bfloat16 on a CPU.
        launcher: ``'none'``, ``'pytorch'`` (torchrun) or ``'slurm'``.

    Returns:
        The last and the best checkpoint, the log and the folder of the curves.

    Raises:
        FileExistsError: If ``work_dir`` holds checkpoints of another run.
        CheckpointError: If a checkpoint is missing or does not fit.
        OptionError: If the model has no weights.
        OverlapError: If images are both trained on and evaluated.
        CollapseError: If the loss is no finite number.
    """
    refuse_without_weights(config, 'train')
    cfg = run_config(
        config,
        ('train', 'val'),
        cfg_options=cfg_options,
        data_root=data_root,
        work_dir=work_dir,
        allow_overlap=allow_overlap,
        launcher=launcher,
    )
    check_flags(cfg)  # before resuming is decided on
    check_values(cfg)
    if amp:
        use_amp(cfg)
    set_start(cfg, resume, overwrite)
    if resume_anew:
        cfg.resume_anew = as_list(resume_anew)
        if not (resume or cfg.resume):
            raise OptionError('--resume-anew goes with --resume')
    with running(cfg) as runner:
        runner.train()
    hook = next((h for h in runner.hooks if isinstance(h, CheckpointHook)), None)
    return TrainResult(
        last=getattr(hook, 'last_ckpt', None),
        best=getattr(hook, 'best_ckpt_path', None),
        log=osp.join(runner.log_dir, f'{runner.timestamp}.log'),
        curves=osp.join(runner.log_dir, 'vis_data'),
    )


def use_amp(cfg: Config) -> None:
    """Put the optimizer, or that of each part, into an ``AmpOptimWrapper``."""
    for place, wrapper in iter_optim_wrappers(cfg):
        kind = wrapper.setdefault('type', 'OptimWrapper')
        if kind not in ('OptimWrapper', 'AmpOptimWrapper', 'mmirstd.GPUAmpOptimWrapper'):
            raise ValueError(f'--amp does not go with {place}.type={kind}')
        if kind != 'AmpOptimWrapper':
            wrapper.update(type='AmpOptimWrapper', loss_scale='dynamic')


def set_start(cfg: Config, resume: bool | str | Path, overwrite: bool) -> None:
    """Let training start anew, or continue from a checkpoint, or from the latest in the work dir.

    Raises:
        FileExistsError: If it would replace the checkpoints of another run, and ``overwrite`` is false.
        CheckpointError: If a checkpoint is missing.
    """
    if not resume and cfg.get('resume'):  # as MMEngine understands it: this checkpoint, or the latest
        resume = cfg.get('load_from') or True
    hook = checkpoint_settings(cfg)
    folder = checkpoint_folder(cfg.work_dir, hook.get('out_dir'))
    endings = '.pth', osp.splitext(hook.get('filename_tmpl') or 'iter.pth')[1]
    found = sorted(f for f in os.listdir(folder) if f.endswith(endings)) if osp.isdir(folder) else []
    checkpoint = latest_checkpoint(cfg.work_dir, folder) if resume is True else str(resume) if resume else None
    if resume:
        say(f'resuming from {checkpoint}' if checkpoint else f'nothing to resume in {folder}: starting anew')
    if found and not (checkpoint and stands_in(checkpoint, folder)) and not overwrite:
        raise FileExistsError(
            f'{folder} holds checkpoints of an earlier run ({", ".join(found[:3])}): continue it with '
            '--resume, choose another --work-dir, or allow replacing them with --overwrite'
        )
    if checkpoint:
        cfg.load_from = checkpoint
    cfg.resume = bool(checkpoint)
    if cfg.get('load_from'):
        check_checkpoint(cfg.load_from)
