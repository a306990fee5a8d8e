"""Schedules of configs for another number of iterations."""

from mmengine.config import Config

from mmirstd.apis.configuration import OptionError

# What a scheduler of MMEngine counts in iterations.
_POINTS, _LISTS = (
    ('begin', 'end', 'T_max', 'total_iters', 'step_size', 'total_steps', 'period'),
    ('milestones', 'periods'),
)


def set_iterations(cfg: Config, iterations: int, validations: int, purpose: str) -> None:
    """Let a config train for another number of iterations; the phases of its schedule keep their shares.

    Args:
        cfg: Is changed.
        iterations: A multiple of ``validations``.
        validations: At equal distances, the last one at the end. Checkpoints are written with them.
        purpose: Goes before "needs a config that trains by iterations".

    Raises:
        OptionError: If the config trains by epochs.
    """
    if cfg.train_cfg.get('type') != 'IterBasedTrainLoop':
        raise OptionError(f'{cfg.filename}: {purpose} needs a config that trains by iterations (IterBasedTrainLoop)')
    if iterations < 1 or validations < 1 or iterations % validations:
        raise ValueError(f'{iterations} iterations cannot be divided by {validations} validations')
    factor = iterations / cfg.train_cfg.max_iters

    def scaled(count: int) -> int:
        return round(count * factor) if count < 2**31 - 1 else count  # MMEngine's word for no end

    for scheduler in cfg.get('param_scheduler') or []:
        if scheduler.get('by_epoch', True):
            raise OptionError(
                f'{cfg.filename}: {purpose} needs schedulers by iterations, {scheduler.type} is by epochs'
            )
        for key in sorted(scheduler.keys() & set(_POINTS)):  # 'begin' before 'end', which comes after it
            least = {'begin': 0, 'end': scheduler.get('begin', 0) + 1}.get(key, 1)
            scheduler[key] = max(scaled(scheduler[key]), least)
        for key in scheduler.keys() & set(_LISTS):
            scheduler[key] = [scaled(point) for point in scheduler[key]]
    interval = iterations // validations
    cfg.train_cfg.update(max_iters=iterations, val_interval=interval)
    cfg.train_cfg.pop('val_begin', None)
    cfg.default_hooks.checkpoint.interval = interval
