"""A Runner that checks its data and its checkpoints, and runs without a GPU."""

import copy
import itertools
import logging
import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config, ConfigDict
from mmengine.device import get_device
from mmengine.dist import broadcast_object_list, master_only
from mmengine.hooks import EMAHook
from mmengine.logging import MessageHub, MMLogger, print_log
from mmengine.model import is_model_wrapper, revert_sync_batchnorm
from mmengine.optim import OptimWrapper
from mmengine.runner import Runner
from mmengine.visualization import Visualizer
from torch import nn
from torch.utils.data import DataLoader

from mmirstd.checkpoints.fitting import check_average, load_fitting, load_strict
from mmirstd.checkpoints.loading import Load, load_checkpoint, recording, use_strict_loader
from mmirstd.checkpoints.state_dict import CheckpointError, checkpoint_weights
from mmirstd.datasets.wrapped import leaves
from mmirstd.engine.config_checks import check_channels, check_config, check_training
from mmirstd.engine.distributed import import_formatter, start_gloo_on_cpu, unwrapped
from mmirstd.engine.hooks.provenance_hook import ProvenanceHook
from mmirstd.engine.interruption import InterruptibleMixin
from mmirstd.engine.optim_wrapper import CPUAmpOptimWrapper
from mmirstd.engine.resuming import ResumingMixin
from mmirstd.engine.run_files import OwnFilesMixin
from mmirstd.engine.seeding import CountingSampler, SeededSamples
from mmirstd.engine.value_checks import check_values
from mmirstd.io.files import whole_file
from mmirstd.io.mask_content import MaskSetError
from mmirstd.models.segmentors import check_tta_model
from mmirstd.ops.samples import refuse_non_finite_output
from mmirstd.registry import RUNNERS
from mmirstd.utils.interrupts import leave_signals_to_parent
from mmirstd.utils.optimizers import has_several_optimizers, iter_optim_wrappers

# Of MMEngine: a line for each parameter with options of its own, and advice to itself.
FILE_ONLY = ('paramwise_options -- ', '"FileClient" will be deprecated', '"HardDiskBackend" is the alias')


_count_of_runs = itertools.count()


def _belongs_on_screen(record: logging.LogRecord) -> bool:
    return not record.getMessage().startswith(FILE_ONLY)


class StrictRunnerMixin(InterruptibleMixin, ResumingMixin, OwnFilesMixin):
    """What :class:`StrictRunner` and :class:`~mmirstd.engine.StrictFlexibleRunner` add for data, hooks and files."""

    started = False  # whether a batch came: failures before that are a matter of set-up

    @classmethod
    def from_cfg(cls, cfg: Config) -> Runner:
        """Build from a config, after a check of what it says."""
        cfg = copy.deepcopy(cfg)
        check_values(cfg)
        check_config(cfg)
        check_channels(cfg)
        import_formatter()
        return super().from_cfg(cfg)

    def train(self) -> nn.Module:
        """Train, after a check of loop and schedule.

        Raises:
            Interrupted: See :class:`InterruptibleMixin`.
        """
        check_training(self.cfg)
        return super().train()

    @cached_property
    def instance_name(self) -> str:
        """Name of the run's visualizer, logger and message hub, which no other run of this process has.

        MMEngine finds them by name, and names them by config and second: the second of two runs that begin within one
        would write into the files of the first.
        """
        return f'{self.log_dir} ({next(_count_of_runs)})'

    def build_visualizer(self, visualizer: Visualizer | dict | None = None) -> Visualizer:
        """Build the visualizer, by default under the run's own name."""
        if isinstance(visualizer, dict):
            visualizer = {'name': self.instance_name} | visualizer
        return super().build_visualizer(visualizer)

    def register_hooks(self, default_hooks: dict | None = None, custom_hooks: list | None = None) -> None:
        """Register what the config says, and the guard against training on the images of the test."""
        super().register_hooks(default_hooks, custom_hooks)
        if not any(isinstance(hook, ProvenanceHook) for hook in self.hooks):
            self.register_hook(ProvenanceHook())

    def call_hook(self, fn_name: str, **kwargs: object) -> None:
        """Call the hooks, and note when the first batch comes."""
        if fn_name in ('before_train_iter', 'before_val_iter', 'before_test_iter'):
            self.started = True
        if fn_name in ('after_val_iter', 'after_test_iter'):  # whatever the metric, NaN is no background
            for sample in kwargs.get('outputs') or ():
                refuse_non_finite_output(sample, str(sample.get('img_path', 'an image')))
        super().call_hook(fn_name, **kwargs)

    @staticmethod
    def build_dataloader(
        dataloader: DataLoader | dict, seed: int | None = None, diff_rank_seed: bool = False
    ) -> DataLoader:
        """Build and check the dataset; its samples are seeded one by one, see :mod:`mmirstd.engine.seeding`."""
        if isinstance(dataloader, dict):
            dataloader = dataloader.copy()
            if isinstance(dataloader.get('dataset'), dict) and isinstance(dataloader.get('sampler'), dict):
                dataloader['dataset'] = ConfigDict(type=SeededSamples, dataset=dataloader['dataset'])
                dataloader['sampler'] = ConfigDict(type=CountingSampler, sampler=dataloader['sampler'])
        loader = Runner.build_dataloader(dataloader, seed, diff_rank_seed)
        # A loader draws a seed for its workers whenever it starts: not from the generators that training draws from.
        loader.generator = torch.Generator().manual_seed(seed or 0)
        loader.worker_init_fn = partial(_start_worker, first=loader.worker_init_fn)
        found = list(leaves(loader.dataset))
        for dataset in found:
            if hasattr(dataset, 'check'):
                print_log(f'{type(dataset).__name__} checked: {dataset.check()}', logger='current')
        if all(getattr(d, 'images_with_targets', None) == 0 and not d.test_mode for d in found):
            names = ', '.join(f'{d.name} {d.split_name}' for d in found)
            raise MaskSetError(
                f'{names}: no image to train on has a target; the warnings above say what the masks hold'
            )
        return loader


def _start_worker(worker_id: int, first: Callable[[int], None] | None) -> None:
    leave_signals_to_parent()
    if first is not None:
        first(worker_id)


def _cpu_amp(wrapper: dict) -> dict:
    if wrapper.get('type') != 'AmpOptimWrapper':
        return wrapper
    kept = {k: v for k, v in wrapper.items() if k not in ('loss_scale', 'dtype', 'use_fsdp')}
    return kept | {'type': CPUAmpOptimWrapper}


@contextmanager
def whole_checkpoint(out_dir: str, filename: str) -> Iterator[str]:
    """Give a temporary name in the folder; what is written there is complete when it gets its own name.

    Raises:
        CheckpointError: If it cannot be written. The checkpoints before it are untouched.
    """
    path = Path(out_dir, filename)
    try:
        with whole_file(path) as temporary:
            yield temporary.name
    except OSError as e:
        raise CheckpointError(f'cannot write {path}: {e.strerror or e}; checkpoints written before are complete') from e


def _unused_time(work_dir: str, timestamp: str) -> str:
    """The first second from ``timestamp`` on after which no folder of logs is named."""
    form = '%Y%m%d_%H%M%S'
    seconds = time.mktime(time.strptime(timestamp, form))
    while Path(work_dir, timestamp).exists():
        seconds += 1
        timestamp = time.strftime(form, time.localtime(seconds))
    return timestamp


@RUNNERS.register_module()
class StrictRunner(StrictRunnerMixin, Runner):
    """Use it with ``runner_type='mmirstd.StrictRunner'``. Besides what the Runner of MMEngine does:

    - Checkpoints are read as plain data only and must fit the model exactly. ``strict_load=False`` in the config lets
      ``load_from`` start from a checkpoint of another model (what does not fit is logged); resuming is always strict.
    - Checkpoints are complete under their names; the disk may be full, or the process be killed while it writes.
    - Datasets that have a ``check()`` are checked when they are built, i.e. before the first step.
    - Samples are seeded by what is drawn, not by who draws it: runs repeat with any number of workers.
    - Without a GPU, ``launcher='pytorch'`` and ``'slurm'`` use gloo, SyncBN becomes BatchNorm, and mixed precision is
      bfloat16 autocast without loss scaling; each is logged.
    """

    def setup_env(self, env_cfg: dict) -> None:
        """Start gloo first where there is no GPU, put the strict loader in place, and find an unused log folder."""
        use_strict_loader()
        self.loads: list[Load] = []  # checkpoints that the model is made from; ProvenanceHook reads them
        start_gloo_on_cpu(self._launcher, env_cfg.get('dist_cfg', {}).get('timeout'))
        super().setup_env(env_cfg)
        found = [_unused_time(self.work_dir, self.timestamp)]
        broadcast_object_list(found)
        self._timestamp = found[0]

    def build_logger(self, log_level: int | str = 'INFO', log_file: str | None = None, **kwargs: Any) -> MMLogger:
        """Build under the run's own name; hundreds of lines that say nothing go to the log file alone."""
        logger = super().build_logger(log_level, log_file, **{'name': self.instance_name} | kwargs)
        for handler in logger.handlers:
            if not isinstance(handler, logging.FileHandler):
                handler.addFilter(_belongs_on_screen)
        return logger

    def build_message_hub(self, message_hub: dict | None = None) -> MessageHub:
        """Build under the run's own name."""
        return super().build_message_hub({'name': self.instance_name} | (message_hub or {}))

    def build_model(self, model: nn.Module | dict) -> nn.Module:
        """Build, and note the checkpoints that are read."""
        with recording(self.loads):
            built = super().build_model(model)
        check_tta_model(built)
        return built

    def _init_model_weights(self) -> None:
        with recording(self.loads):
            super()._init_model_weights()

    def wrap_model(self, model_wrapper_cfg: dict | None, model: nn.Module) -> nn.Module:
        """Wrap for distributed training; on CPU without device ids and without SyncBN."""
        if self.distributed and get_device() == 'cpu' and not is_model_wrapper(model):
            if self.cfg.pop('sync_bn', None) or any(isinstance(m, nn.SyncBatchNorm) for m in model.modules()):
                self.logger.warning('SyncBatchNorm needs a GPU: each process normalizes by its own batch')
                model = revert_sync_batchnorm(model)
            model_wrapper_cfg = ConfigDict(
                type='MMDistributedDataParallel',
                broadcast_buffers=False,
                find_unused_parameters=self.cfg.get('find_unused_parameters', False),
            ) | (model_wrapper_cfg or {})
            model_wrapper_cfg.setdefault('device_ids', None)
        return super().wrap_model(model_wrapper_cfg, model)

    def build_optim_wrapper(self, optim_wrapper: OptimWrapper | dict) -> OptimWrapper:
        """Build; on CPU ``AmpOptimWrapper``, which MMEngine refuses there, becomes bfloat16 autocast."""
        if isinstance(optim_wrapper, dict) and get_device() == 'cpu':
            wrappers = [wrapper for _, wrapper in iter_optim_wrappers({'optim_wrapper': optim_wrapper})]
            if any(wrapper.get('type') == 'AmpOptimWrapper' for wrapper in wrappers):
                self.logger.info('mixed precision on CPU: bfloat16 autocast without loss scaling')
                several = has_several_optimizers(optim_wrapper)
                optim_wrapper = (
                    {k: _cpu_amp(v) if isinstance(v, dict) else v for k, v in optim_wrapper.items()}
                    if several
                    else _cpu_amp(optim_wrapper)
                )
        return super().build_optim_wrapper(optim_wrapper)

    @master_only
    def save_checkpoint(self, out_dir: str, filename: str, *args: Any, **kwargs: Any) -> None:
        """Write under a temporary name, then rename: under its own name a checkpoint is complete.

        Raises:
            CheckpointError: See :func:`whole_checkpoint`.
        """
        if '://' in out_dir:  # storage that is no file system writes whole objects
            super().save_checkpoint(out_dir, filename, *args, **kwargs)
            return
        with whole_checkpoint(out_dir, filename) as temporary:
            super().save_checkpoint(out_dir, temporary, *args, **kwargs)

    def load_checkpoint(
        self,
        filename: str,
        map_location: str | Callable = 'cpu',
        strict: bool | None = None,
        revise_keys: Sequence[tuple[str, str]] = (),
    ) -> dict:
        """Load weights into the model; called for ``load_from`` and by :meth:`resume`.

        Args:
            filename: Path, or an address that :func:`mmirstd.checkpoints.loading.load_checkpoint` knows.
            map_location: As in ``torch.load``.
            strict: Whether all weights must fit. By default true, unless the config says ``strict_load=False``.
            revise_keys: (pattern, replacement) pairs for the keys; the prefix of DDP is always taken off.

        Returns:
            What the file holds.

        Raises:
            CheckpointError: See :mod:`mmirstd.checkpoints.loading`.
        """
        with recording(self.loads):
            content = load_checkpoint(filename, map_location)
        weights = checkpoint_weights(content, filename)
        for pattern, replacement in revise_keys:
            weights = {re.sub(pattern, replacement, k): v for k, v in weights.items()}
        self.check_parts(content)
        model = unwrapped(self.model)
        if self._required and 'ema_state_dict' in content:
            check_average(content, model, filename)
        if strict is None:
            strict = bool(self._required) or self.cfg.get('strict_load', True)
        if strict and any(isinstance(hook, EMAHook) for hook in self.hooks):
            load_strict(model, weights, filename)  # where they do not fit, EMAHook prints all keys
        # Hooks such as EMAHook read and change this entry.
        checkpoint = {**content, 'state_dict': weights} if 'state_dict' in content else {'state_dict': weights}
        self.call_hook('after_load_checkpoint', checkpoint=checkpoint)

        if strict:
            load_strict(model, checkpoint['state_dict'], filename)
        else:
            load_fitting(model, checkpoint['state_dict'], filename)
        self.check_states(content)
        self._has_loaded = True
        self.logger.info(f'Load checkpoint from {filename}')
        return checkpoint
