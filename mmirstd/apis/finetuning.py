"""Training on one's own images, from weights that find targets already."""

import os.path as osp
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from mmengine.config import Config

from mmirstd.apis.configuration import CfgOptions, OptionError, read_config, refuse_distiller, refuse_without_weights
from mmirstd.apis.inference import checkpoint_for
from mmirstd.apis.running import say
from mmirstd.apis.scheduling import set_iterations
from mmirstd.apis.testing import test
from mmirstd.apis.training import TrainResult, set_start, train
from mmirstd.datasets.folder import FolderDataset
from mmirstd.datasets.published_splits import choose_val
from mmirstd.io.files import refuse_no_folder, write_atomically
from mmirstd.io.ids import refuse_unwritable
from mmirstd.io.tables import text_rows
from mmirstd.utils.configs import DEFAULT_MODEL
from mmirstd.utils.data_root import iter_datasets
from mmirstd.utils.optimizers import iter_optim_wrappers

LEAST_IMAGES = 5
VAL_SHARE = 0.2
# Times that an image is seen, and bounds of the iterations that come from it.
PASSES = 60
ITERATIONS = (150, 4000)
VALIDATIONS = 5
PATIENCE = 3  # validations without a gain
REPORTED = ('IoU', 'nIoU', 'Pd', 'Fa', 'F1')
RATE = 0.25  # of the config's own learning rate, which is for random weights
DECAY = 30.0  # towards the weights at the start: none moves farther from them than about 1 / 30


class FinetuneResult(NamedTuple):
    """The training, and the metrics on the validation part before and after it."""

    training: TrainResult
    before: dict[str, float]
    after: dict[str, float]


def finetune(
    folder: str | Path,
    config: str | Path | Config = DEFAULT_MODEL,
    checkpoint: str | Path | None = None,
    *,
    work_dir: str | Path | None = None,
    cfg_options: CfgOptions | None = None,
    overwrite: bool = False,
    amp: bool = False,
) -> FinetuneResult:
    """Train a model further on a folder of images and masks, and say what that gave.

    A fifth of the images, drawn with a fixed seed, is held out. The best checkpoint is chosen on it, and the metrics
    before and after are those on it. Both parts stand in ``work_dir/splits``. Every image is seen 60 times, within 150
    to 4,000 iterations, at a quarter of the config's learning rate; three validations without a gain end it.

    The training stays near its start: batch norms keep their statistics, and weights are pulled towards what they were.
    The start is validated, too. Where no iteration is better on the held-out images, the best checkpoint,
    ``best_IoU_iter_0.pth``, holds the weights of the start.

    Args:
        folder: Holds ``images/`` and ``masks/``, see :class:`mmirstd.datasets.FolderDataset`; five pairs at least.
        config: Name of a model, path of a config, or a config; it gives the network and the augmentation.
        checkpoint: Weights to start from; by default those that come with the package.
        work_dir: Where to write; by default ``work_dirs/NAME-finetuned/FOLDER``.
        cfg_options: Changes of the config, after all else: dotted keys and values, or ``'KEY=VALUE'`` texts.
        overwrite: Allow replacing the checkpoints in ``work_dir``.
        amp: Mixed precision; bfloat16 on a CPU.

    Raises:
        OptionError: If there are fewer than five images, or the config is of a distillation.
        CheckpointError: If the checkpoint is missing or does not fit, or none is given and none comes with the package.
        FileExistsError: If ``work_dir`` holds checkpoints of another run.
        NotADirectoryError: If ``work_dir`` is a file.
    """
    refuse_without_weights(config, 'train')
    cfg = read_config(config)
    refuse_distiller(cfg)
    checkpoint = checkpoint_for(config, checkpoint)
    if not str(folder):
        raise OptionError('the folder to fine-tune on has no name')
    folder = osp.abspath(folder)
    name = osp.splitext(osp.basename(cfg.filename or 'config'))[0]
    cfg.work_dir = str(work_dir or osp.join('work_dirs', f'{name}-finetuned', osp.basename(folder)))
    refuse_no_folder(cfg.work_dir)
    ids = FolderDataset(data_root=folder, pipeline=[]).img_ids
    if len(ids) < LEAST_IMAGES:
        raise OptionError(f'{folder} has {len(ids)} images with masks: fine-tuning needs at least {LEAST_IMAGES}')
    refuse_unwritable(ids, str(folder))
    val = choose_val(ids, VAL_SHARE)
    parts = {'train': [i for i in ids if i not in set(val)], 'val': val}
    set_folder(cfg, folder, {part: osp.abspath(osp.join(cfg.work_dir, 'splits', f'{part}.txt')) for part in parts})
    set_schedule(cfg, len(parts['train']))
    keep_close(cfg)
    cfg.load_from = checkpoint
    cfg = read_config(cfg, cfg_options)
    set_start(cfg, resume=False, overwrite=overwrite)  # an earlier run stops this one before anything is written
    for part, of_part in parts.items():
        write_atomically(osp.join(cfg.work_dir, 'splits', f'{part}.txt'), '\n'.join(of_part) + '\n')
    say(f'{len(ids)} images of {folder}: {len(parts["train"])} to train on, {len(val)} held out to judge by')

    before = test(cfg, checkpoint, work_dir=osp.join(cfg.work_dir, 'before')).metrics
    training = train(cfg, overwrite=overwrite, amp=amp)
    after = test(cfg, training.best, work_dir=osp.join(cfg.work_dir, 'after')).metrics
    rows = [{'held out': name, **metrics} for name, metrics in (('before', before), ('after', after))]
    say(text_rows(rows, ['held out', *REPORTED]))
    if osp.basename(training.best).endswith('_iter_0.pth'):
        say(f'no iteration is better on the held-out images than the start, {checkpoint}: the best are its weights')
    return FinetuneResult(training, before, after)


def set_folder(cfg: Config, folder: str, splits: Mapping[str, str]) -> None:
    """Let a config train and evaluate on the parts of a folder, ``splits`` being their files of ids."""
    for loader, part in (('train', 'train'), ('val', 'val'), ('test', 'val')):
        dataset = cfg[f'{loader}_dataloader'].dataset
        pipeline = next(leaf.pipeline for _, leaf in iter_datasets(cfg, [loader]) if leaf.get('pipeline'))
        leaf = dict(
            type='mmirstd.FolderDataset', data_root=folder, ann_file=splits[part], pipeline=pipeline, cache='memory'
        )
        if loader == 'train' and dataset.type == 'MultiImageMixDataset':  # it augments what the inner one loads
            dataset.dataset = leaf
        else:
            cfg[f'{loader}_dataloader'].dataset = leaf if loader == 'train' else dict(**leaf, test_mode=True)


def set_schedule(cfg: Config, images: int) -> None:
    """Fit the schedule of a config to a number of training images; its phases keep their shares.

    Raises:
        OptionError: If the config does not train by iterations.
    """
    wanted = PASSES * images // cfg.train_dataloader.batch_size
    interval = min(max(wanted, ITERATIONS[0]), ITERATIONS[1]) // VALIDATIONS
    set_iterations(cfg, interval * VALIDATIONS, VALIDATIONS, 'fine-tuning')
    for _, wrapper in iter_optim_wrappers(cfg):
        wrapper.optimizer.lr *= RATE


def keep_close(cfg: Config) -> None:
    """Let a training stay near its start, and end where it no longer gains; its start is a candidate for the best."""
    for _, wrapper in iter_optim_wrappers(cfg):
        wrapper.optimizer.weight_decay = 0.0  # towards zero, see StartingPointDecayHook
    cfg.custom_hooks = [
        *(cfg.get('custom_hooks') or []),
        dict(type='mmirstd.ValidateFirstHook'),
        dict(type='mmirstd.FrozenStatisticsHook'),
        dict(type='mmirstd.StartingPointDecayHook', decay=DECAY),
        dict(type='EarlyStoppingHook', monitor='IoU', rule='greater', min_delta=0.0, patience=PATIENCE),
    ]
