"""Which runs a reproduction consists of: models, datasets, and weights or a budget of training."""

from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from mmirstd.apis.configuration import CfgOptions, has_weights, parse_options, read_config
from mmirstd.apis.inference import own_weights
from mmirstd.apis.planned_run import PACKAGED, ReproductionRun
from mmirstd.utils.configs import CONFIGS_DIR, ConfigNotFoundError, describe_configs, find_config
from mmirstd.utils.errors import ArgumentError
from mmirstd.utils.metafiles import is_tested_on, model_of, published_weights
from mmirstd.utils.text import as_list

BUDGETS = ('cpu', 'gpu')


def plan_runs(
    models: Sequence[str],
    datasets: Sequence[str],
    *,
    budget: str | None = None,
    weights: str | Path | None = None,
    amp: bool = False,
    data_root: str | Path | None = None,
    cfg_options: CfgOptions | None = None,
) -> list[ReproductionRun]:
    """Make the list of runs, all of which can begin: configs and files are there.

    Args:
        models: Names of configs, with or without the dataset; wildcards are allowed with weights. Without models,
            all that have weights of the kind asked for.
        datasets: Endings of configs: ``'nuaa'``, ``'nudt'``, ``'irstd1k'``, ....
        budget: One of :data:`BUDGETS`.
        weights: ``'packaged'``, a file, or a folder of files that others published.
        amp: Mixed precision in training.
        data_root: Folder that holds the datasets.
        cfg_options: Changes of all configs.

    Raises:
        ArgumentError: If the options do not go together, or nothing fits.
        ConfigNotFoundError: If there is no such config or dataset.
    """
    models, datasets = as_list(models), as_list(datasets)
    options = parse_options(cfg_options)
    if not datasets:
        raise ArgumentError('--datasets: name at least one, such as nudt')
    shared = {'data_root': None if data_root is None else str(Path(data_root).resolve())}
    if weights is None:
        return _of_configs(models, datasets, budget, options, shared | {'amp': amp})
    if budget is not None or amp:
        raise ArgumentError('--weights are tested as they are: they go with neither --budget nor --amp')
    if str(weights) == PACKAGED:
        found = _of_package(models)
    elif Path(weights).is_dir():
        found = _of_folder(Path(weights), models)
    elif Path(weights).is_file():
        found = _of_file(Path(weights), models, datasets)
    else:
        raise ArgumentError(f"--weights {weights}: there is no such file or folder, and it is not '{PACKAGED}'")
    shared['options'] = options
    runs = [ReproductionRun(**entry, **shared, dataset=dataset) for entry in found for dataset in datasets]
    for run in runs:
        run.test_config()
    return runs


def _of_configs(
    models: Sequence[str], datasets: Sequence[str], budget: str | None, options: dict, shared: dict[str, Any]
) -> list[ReproductionRun]:
    """Runs that train, and of detectors without weights, which do not."""
    if not models:
        raise ArgumentError('--models: name at least one; without --weights it is trained')
    if budget not in (None, *BUDGETS):
        raise ArgumentError(f'--budget {budget}: there are {" and ".join(BUDGETS)}')
    runs = []
    for model in models:
        for dataset in datasets:
            config = find_of_dataset(model, dataset)
            if not has_weights(read_config(config)):
                runs.append(ReproductionRun(config=config, dataset=dataset, kind='none', options=options,
                                            data_root=shared['data_root']))  # fmt: skip
                continue
            if budget is None:
                raise ArgumentError(f'{model} is to be trained: --budget {" or ".join(BUDGETS)}, or --weights')
            run = ReproductionRun(
                config=config, dataset=dataset, kind='trained', budget=budget, options=options, **shared
            )
            run.train_config()
            run.test_config()
            runs.append(run)
    return runs


def find_of_dataset(model: str, dataset: str) -> str:
    """The config of a model for a dataset, or the model itself if it is that config, or one that leaves the set out.

    Raises:
        ConfigNotFoundError: If there is none.
    """
    if is_tested_on(model, dataset):
        return _named(model)
    for name in (f'{model}_{dataset}', f'{model}_{dataset}.py'):
        if Path(name).is_file():
            return name
    return _named(f'{model}_{dataset}')


def _named(config: str) -> str:
    """A config by its name if it is shipped, else its path; it is there."""
    path = find_config(config).resolve()
    return path.stem if path.is_relative_to(CONFIGS_DIR.resolve()) else str(config)


def _of_package(models: Sequence[str]) -> list[dict[str, Any]]:
    names = [entry['name'] for entry in describe_configs() if entry['weights']]
    chosen = _matching(names, models, 'no weights of the package are called')
    return [{'config': n, 'kind': 'packaged', 'weights': own_weights(n), 'weights_name': n} for n in chosen]


def _of_folder(folder: Path, models: Sequence[str]) -> list[dict[str, Any]]:
    """What is known of published files in a folder."""
    known = {w.name: w for w in published_weights()}
    files = {p.stem: p for p in sorted(folder.iterdir()) if p.suffix == '.pth' and p.stem in known}
    if not files:
        raise ArgumentError(f'--weights {folder}: holds none of {", ".join(known)} (.pth)')
    for model in models:
        if not any(_fits(model, name) or _fits(model, known[name].config) for name in files):
            raise ArgumentError(f'{folder} has no known weights of {model}; there are {", ".join(files)}')
    chosen = [n for n in files if not models or any(_fits(m, n) or _fits(m, known[n].config) for m in models)]
    return [_published(files[name]) for name in chosen]


def _published(path: Path) -> dict[str, Any]:
    (known,) = (w for w in published_weights() if w.name == path.stem)
    return {
        'config': known.config, 'kind': 'published', 'weights': str(path), 'weights_name': known.name,
        'source': known.source, 'trained_on': known.trained_on, 'weights_options': dict(known.options),
    }  # fmt: skip


def _of_file(path: Path, models: Sequence[str], datasets: Sequence[str]) -> list[dict[str, Any]]:
    if any(w.name == path.stem for w in published_weights()):
        entry = _published(path)
        if models and not any(_fits(m, name) for m in models for name in (entry['config'], path.stem)):
            raise ArgumentError(f'--weights {path}: they are of {entry["config"]}, not of {", ".join(models)}')
        return [entry]
    if len(models) != 1:
        raise ArgumentError(f'--weights {path}: name the one model that they are of with --models')
    try:
        config = _named(models[0])
    except ConfigNotFoundError:
        config = find_of_dataset(models[0], datasets[0])
    return [{'config': config, 'kind': 'given', 'weights': str(path), 'weights_name': path.stem}]


def _matching(names: Sequence[str], models: Sequence[str], refusal: str) -> list[str]:
    """The names that the models ask for; all without models.

    Raises:
        ArgumentError: If a model matches none.
    """
    if not models:
        return list(names)
    chosen: dict[str, None] = {}
    for model in models:
        found = [name for name in names if _fits(model, name)]
        if not found:
            raise ArgumentError(f'{refusal} {model}; there are {", ".join(names)}')
        chosen.update(dict.fromkeys(found))
    return list(chosen)


def _fits(model: str, name: str) -> bool:
    """Whether a model asks for a name: as it is, without its dataset, or by wildcards."""
    return fnmatchcase(name, model) or model_of(name) == model
