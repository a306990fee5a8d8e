"""One run of a reproduction before it begins: its name, its command, its configs."""

import hashlib
import json
import shlex
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from mmengine.config import Config

from mmirstd.apis.configuration import OptionError, read_config
from mmirstd.apis.run_records import TEST_PARTS, config_digest, training_digest
from mmirstd.apis.training import use_amp
from mmirstd.io.files import file_sha256
from mmirstd.utils.configs import CONFIGS_DIR, ConfigNotFoundError
from mmirstd.utils.data_root import iter_datasets, set_data_folder
from mmirstd.utils.errors import ArgumentError
from mmirstd.utils.metafiles import model_of

Kind = Literal['trained', 'packaged', 'published', 'given', 'none']
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
        weights_options: What the weights need and the config does not say, by dotted keys.
        options: Changes of the config, by dotted keys; they come after the budget and what the weights need.
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
    weights_options: Mapping[str, Any] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    budget: str | None = None
    amp: bool = False
    data_root: str | None = None

    @property
    def name(self) -> str:
        """Of the record, unique among runs of configs of different names."""
        stem = Path(self.config).stem
        if self.kind == 'trained':
            what = '-'.join([self.budget, *(['amp'] if self.amp else []), stem])
        elif self.kind == 'given':
            what = f'{self.model}-{self.weights_name}-{self.weights_sha256[:8]}'
        else:
            what = stem if self.kind == 'none' else self.weights_name
        options = hashlib.sha256(self.variant.encode()).hexdigest()[:8]
        return f'{self.kind}_{what}_on_{self.dataset}' + (f'_{options}' if self.options else '')

    @property
    def variant(self) -> str:
        """What makes it another run than the one without options; empty: nothing."""
        return ', '.join([*(['amp'] if self.amp else []), *self.option_words])

    @property
    def option_words(self) -> list[str]:
        """The changes of the config as a command line has them."""
        return [f'{key}={value!r}' for key, value in self.options.items()]

    @cached_property
    def weights_sha256(self) -> str | None:
        """Of the file; None: there is none yet."""
        return None if self.weights is None else file_sha256(self.weights)

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
        # A file that was given is of a config, not of a family of them; one config of others is not found by its name.
        whole = self.kind in ('packaged', 'given') or Path(self.config).name != self.config
        words = ['mmirstd', 'reproduce', '--models', self.config if whole else self.model]
        words += ['--datasets', self.dataset, '--data-root', 'data']
        if self.kind == 'trained':
            words += ['--budget', self.budget, *(['--amp'] if self.amp else [])]
        elif self.kind == 'packaged':
            words += ['--weights', PACKAGED]
        elif self.weights is not None:
            words += ['--weights', f'data/weights/{Path(self.weights).name}']
        if self.options:
            words += ['--cfg-options', *self.option_words]
        return shlex.join(words)

    def test_config(self) -> Config:
        """The config that tests the network on the dataset; the test pipeline is the network's own.

        Raises:
            ArgumentError: If the test split joins several datasets.
        """
        cfg = read_config(self.config, {**self.weights_options, **self.options})
        if not self.is_own_set:
            part = Config.fromfile(dataset_base(self.dataset)).test_dataloader.dataset
            (_, own), *_ = iter_datasets(cfg, ['test'])
            cfg.test_dataloader.dataset = dict(part, pipeline=own['pipeline'])
        if (number := len(list(iter_datasets(cfg, ['test'])))) != 1:
            raise ArgumentError(
                f'--datasets {self.dataset}: its test split has {number} datasets, and a record is of one: name each'
            )
        if self.data_root is not None:
            set_data_folder(cfg, self.data_root)
        return cfg

    def train_config(self) -> Config:
        """The config that trains it within the budget."""
        cfg = read_config(self.config)
        if self.budget == 'cpu':
            fit_cpu_budget(cfg)
        cfg = read_config(cfg, self.options)
        if self.amp:
            use_amp(cfg)
        if self.data_root is not None:
            set_data_folder(cfg, self.data_root)
        return cfg

    @property
    def takes_fast_schedule(self) -> bool:
        """Whether the training has another schedule than the config says."""
        return self.budget == 'cpu' and trains_long(read_config(self.config))

    def digest(self) -> str:
        """Of all that decides the outcome: configs, and the file of weights."""
        parts = [config_digest(self.test_config(), TEST_PARTS)]
        if self.kind == 'trained':
            parts.append(training_digest(self.train_config()))
        if self.weights is not None:
            parts.append(self.weights_sha256)
        return hashlib.sha256(' '.join(parts).encode()).hexdigest()

    def as_dict(self) -> dict[str, Any]:
        """Plain data."""
        return json.loads(json.dumps(asdict(self)))


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


def trains_long(cfg: Config) -> bool:
    """Whether the budget of a CPU changes the schedule of a config."""
    iterations = cfg.train_cfg.get('max_iters')
    return iterations is None or iterations > CPU_ITERATIONS


def fit_cpu_budget(cfg: Config) -> None:
    """Give a config that trains for long the fast schedule: its optimizer, rates, iterations and averaged weights.

    Raises:
        OptionError: If it has several optimizers, so that another schedule does not fit.
    """
    if not trains_long(cfg):
        return
    if cfg.optim_wrapper.get('constructor') or not cfg.optim_wrapper.get('optimizer'):
        raise OptionError(f'{cfg.filename}: its optimizers have no schedule for the budget cpu: use --budget gpu')
    fast = Config.fromfile(CONFIGS_DIR / CPU_SCHEDULE)
    for key in ('train_cfg', 'optim_wrapper', 'param_scheduler'):
        cfg[key] = fast[key]
    kinds = {hook.get('type') for hook in cfg.get('custom_hooks') or ()}
    cfg.custom_hooks = [*(cfg.get('custom_hooks') or ()), *(h for h in fast.custom_hooks if h['type'] not in kinds)]
