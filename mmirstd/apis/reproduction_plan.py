"""Which runs a reproduction consists of: models, datasets, and weights or a budget of training."""

import hashlib
import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Literal

from mmengine.config import Config

from mmirstd.apis.configuration import CfgOptions, OptionError, has_weights, parse_options, read_config
from mmirstd.apis.inference import own_weights
from mmirstd.apis.run_records import TEST_PARTS, TRAIN_PARTS, config_digest
from mmirstd.apis.training import use_amp
from mmirstd.io.files import file_sha256
from mmirstd.utils.configs import CONFIGS_DIR, ConfigNotFoundError, describe_configs, find_config
from mmirstd.utils.data_root import iter_datasets, set_data_folder
from mmirstd.utils.errors import ArgumentError
from mmirstd.utils.metafiles import is_tested_on, model_of, published_weights
from mmirstd.utils.text import as_list

Kind = Literal['trained', 'packaged', 'published', 'given', 'none']
BUDGETS = ('cpu', 'gpu')
PACKAGED = 'packaged'
# A config that trains longer takes the fast schedule where the budget is a CPU's.
CPU_ITERATIONS = 8_000
CPU_SCHEDULE = '_base_/schedules/fast.py'


@dataclass(frozen=True, kw_only=True)
class ReproductionRun:
    """One run: a model, tested on one dataset.

    Attributes:
        config: Path or name of the config of the network.
        dataset: The ending of configs of the dataset, such as ``'nudt'``.
        kind: Where the weights come from: trained here, of the package, published by others, a file that was given;
            ``'none'``: a classical detector.
        weights: The file; None: to be trained, or there are none.
        weights_name: Of the file, as tables show it.
        source: How the weights are converted; None: they are this project's.
        trained_on: What the weights were trained on, where they do not say it themselves.
        options: Changes of the config, by dotted keys.
        budget: Of the training; None: there is none.
        amp: Mixed precision in training.
        data_root: Folder that holds the datasets; None: as the config says.
    """

    config: str
    dataset: str
    kind: Kind
    weights: str | None = None
    weights_name: str = ''
    source: str | None = None
    trained_on: tuple[str, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    budget: str | None = None
    amp: bool = False
    data_root: str | None = None

    @property
    def name(self) -> str:
        """Of the record, unique among runs."""
        of = {'trained': f'{self.budget}-{Path(self.config).stem}', 'none': Path(self.config).stem}
        return f'{self.kind}_{of.get(self.kind, self.weights_name)}_on_{self.dataset}'

    @property
    def model(self) -> str:
        """Name of the network, without the dataset."""
        return model_of(self.config)

    @property
    def is_own_set(self) -> bool:
        """Whether the config is one for the dataset that is tested on."""
        return Path(self.config).stem.endswith(f'_{self.dataset}')

    @property
    def command(self) -> str:
        """What makes this run again, with the folders as this project names them."""
        words = ['mmirstd', 'reproduce', '--models', Path(self.config).stem if self.kind == 'packaged' else self.model]
        words += ['--datasets', self.dataset, '--data-root', 'data']
        if self.kind == 'trained':
            words += ['--budget', self.budget, *(['--amp'] if self.amp else [])]
        elif self.kind == 'packaged':
            words += ['--weights', PACKAGED]
        elif self.weights is not None:
            words += ['--weights', f'weights/{Path(self.weights).name}']
        return shlex.join(words)

    def test_config(self) -> Config:
        """The config that tests the network on the dataset; the test pipeline is the network's own."""
        cfg = read_config(self.config, self.options)
        if not self.is_own_set:
            part = Config.fromfile(dataset_base(self.dataset)).test_dataloader.dataset
            (_, own), *_ = iter_datasets(cfg, ['test'])
            cfg.test_dataloader.dataset = dict(part, pipeline=own['pipeline'])
        if self.data_root is not None:
            set_data_folder(cfg, self.data_root)
        return cfg

    def train_config(self) -> Config:
        """The config that trains it within the budget."""
        cfg = read_config(self.config, self.options)
        if self.budget == 'cpu':
            fit_cpu_budget(cfg)
        if self.amp:
            use_amp(cfg)
        if self.data_root is not None:
            set_data_folder(cfg, self.data_root)
        return cfg

    def digest(self) -> str:
        """Of all that decides the outcome: configs, and the file of weights."""
        parts = [config_digest(self.test_config(), TEST_PARTS)]
        if self.kind == 'trained':
            parts.append(config_digest(self.train_config(), TRAIN_PARTS))
        if self.weights is not None:
            parts.append(file_sha256(self.weights))
        return hashlib.sha256(' '.join(parts).encode()).hexdigest()

    def as_dict(self) -> dict[str, Any]:
        """Plain data."""
        return json.loads(json.dumps(asdict(self) | {'options': dict(self.options)}))


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
    runs = []
    for entry in found:
        merged = {**entry.pop('options', {}), **options}
        runs += [ReproductionRun(**entry, **shared, options=merged, dataset=dataset) for dataset in datasets]
    for run in runs:
        if not run.is_own_set:
            dataset_base(run.dataset)
    return runs


def dataset_base(dataset: str) -> Path:
    """The file that describes the dataset to configs.

    Raises:
        ConfigNotFoundError: If there is none.
    """
    folder = CONFIGS_DIR / '_base_/datasets'
    path = folder / f'{dataset}.py'
    if dataset.startswith('_') or not path.is_file():
        known = sorted(p.stem for p in folder.glob('[!_]*.py') if not p.stem.endswith('_gray'))
        raise ConfigNotFoundError(f'there is no dataset {dataset}: there are {", ".join(known)}')
    return path


def fit_cpu_budget(cfg: Config) -> None:
    """Give a config that trains for long the fast schedule: its optimizer, rates, iterations and averaged weights.

    Raises:
        OptionError: If it has several optimizers, so that another schedule does not fit.
    """
    iterations = cfg.train_cfg.get('max_iters')
    if iterations is not None and iterations <= CPU_ITERATIONS:
        return
    if cfg.optim_wrapper.get('constructor') or not cfg.optim_wrapper.get('optimizer'):
        raise OptionError(f'{cfg.filename}: its optimizers have no schedule for the budget cpu: use --budget gpu')
    fast = Config.fromfile(CONFIGS_DIR / CPU_SCHEDULE)
    for key in ('train_cfg', 'optim_wrapper', 'param_scheduler'):
        cfg[key] = fast[key]
    kinds = {hook.get('type') for hook in cfg.get('custom_hooks') or ()}
    cfg.custom_hooks = [*(cfg.get('custom_hooks') or ()), *(h for h in fast.custom_hooks if h['type'] not in kinds)]


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
        'source': known.source, 'trained_on': known.trained_on, 'options': dict(known.options),
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
