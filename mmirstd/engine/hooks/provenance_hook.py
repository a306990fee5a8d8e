"""The guard against evaluating a model on images it was trained on."""

import copy
import logging
from collections.abc import Mapping
from typing import Any

from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.registry import DATASETS
from mmengine.runner import Runner
from mmengine.runner.base_loop import BaseLoop

from mmirstd.checkpoints.provenance import Provenance, SplitRecord
from mmirstd.engine.provenance import allowed_names, check_overlaps, find_overlaps, provenance_of_dataset, unknown_names
from mmirstd.registry import HOOKS
from mmirstd.version import __version__

OWN = 'the training split of this config'


@HOOKS.register_module()
class ProvenanceHook(Hook):
    """Keeps in every checkpoint which images its model was trained on, and refuses to evaluate the model on them.

    What a model was trained on is the training split of the run and what came with ``load_from``, ``init_cfg`` and
    ``resume``. It is compared with the split that is validated or tested on, and in training also with the test split
    of the config, before the first step. ``allow_overlap = ['NUAA-SIRST']`` in the config, or for one split
    ``['NUAA-SIRST irsam/train']``, allows an overlap by name. It is then marked: by a warning beside every table of
    metrics, as ``overlap`` (a number of images) in the metrics, and in the checkpoints.

    A checkpoint that does not say what it was trained on is no error; its test is marked in the metrics and the log.

    :class:`mmirstd.engine.StrictRunner` has the hook always. Rules for identity: :mod:`mmirstd.engine.provenance`.

    Raises:
        OverlapError: Before the first step.
    """

    priority = 'HIGHEST'  # metrics are marked before other hooks log them

    def __init__(self) -> None:
        self._provenances: dict[str, Provenance] = {}  # by where they come from
        self._test: list[SplitRecord] | None = None  # the test split while training
        self._evaluated: dict[int, list[SplitRecord]] = {}
        self._taken = 0
        self._allowed: dict[str, None] = {}
        self._named: set[str] = set()  # names that were looked at

    @property
    def provenance(self) -> Provenance:
        """All that the model has seen so far."""
        inherited = (provenance for source, provenance in self._provenances.items() if source != OWN)
        total = sum(inherited, Provenance(allowed_overlaps=list(self._allowed)))
        return total + self._provenances.get(OWN, Provenance())

    def before_run(self, runner: Runner) -> None:
        """Compare the splits of a training config."""
        if isinstance(runner._train_loop, BaseLoop):
            self._provenances[OWN] = provenance_of_dataset(runner.train_dataloader.dataset)
            self._check(runner)

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Compare what the checkpoint was trained on."""
        if not hasattr(runner, 'loads'):
            self._inherit(str(runner._load_from or 'checkpoint'), checkpoint.get('meta'))
        self._take_loads(runner)
        self._check(runner)

    def before_train(self, runner: Runner) -> None:
        """Compare what came with ``init_cfg``."""
        self._take_loads(runner)
        self._check(runner)
        self._say_unknown_names(runner)

    def before_val(self, runner: Runner) -> None:
        """Compare again: a model may have been trained since."""
        self.before_train(runner)

    def before_test(self, runner: Runner) -> None:
        """Compare again: a model may have been trained since."""
        self.before_train(runner)
        for key in ('overlap_splits', 'training_splits'):  # of a test before
            runner.message_hub.pop_info(f'test/{key}', None)

    def after_val_epoch(self, runner: Runner, metrics: dict[str, Any] | None = None) -> None:
        """Mark an overlap."""
        self._mark(self._splits(runner.val_dataloader.dataset), metrics)

    def after_test_epoch(self, runner: Runner, metrics: dict[str, Any] | None = None) -> None:
        """Mark an overlap and what is not known; JSON logs of tests hold text, too."""
        text = self._mark(self._splits(runner.test_dataloader.dataset), metrics)
        provenance = self.provenance
        if provenance.allowed_overlaps:
            print_log(
                f'trained with overlaps allowed: {"; ".join(provenance.allowed_overlaps)}', 'current', logging.WARNING
            )
        if provenance.unknown_splits:
            _warn(f'training split unknown: {", ".join(provenance.unknown_splits)}')
        if metrics and text:
            metrics['overlap_splits'] = text
        if metrics and provenance.unknown_splits:
            metrics['training_splits'] = f'unknown: {", ".join(provenance.unknown_splits)}'

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Write it down."""
        checkpoint['meta'].update(self.provenance.as_meta(), mmirstd_version=__version__)

    def _take_loads(self, runner: Runner) -> None:
        loads = getattr(runner, 'loads', ())
        for load in loads[self._taken :]:
            self._inherit(load.source, load.meta)
        self._taken = len(loads)

    def _inherit(self, source: str, meta: Mapping | None) -> None:
        if source not in self._provenances:
            self._provenances[source] = provenance = Provenance.of(meta, source)
            if provenance.unknown_splits:
                print_log(f'{source}: training split unknown: {", ".join(provenance.unknown_splits)}', 'current')

    def _check(self, runner: Runner) -> None:
        allow = allowed_names(runner.cfg.get('allow_overlap') or [])
        training = isinstance(runner._train_loop, BaseLoop)
        evaluated = [
            entry
            for loop in (runner._val_loop, runner._test_loop)
            if isinstance(loop, BaseLoop)
            for entry in self._splits(loop.dataloader.dataset)
        ]
        if training and not isinstance(runner._test_loop, BaseLoop):
            evaluated += self._test_split(runner)
        for source, provenance in self._provenances.items():
            for overlap in check_overlaps(evaluated, provenance.trained_on, allow, source):
                text = str(overlap)
                if training and text not in self._allowed:
                    self._allowed[text] = None
                    _warn(f'overlap allowed: {source}: {text}')

    def _say_unknown_names(self, runner: Runner) -> None:
        """Warn, once, of names in ``allow_overlap`` that mean nothing here."""
        names = [name for name in allowed_names(runner.cfg.get('allow_overlap') or []) if name not in self._named]
        self._named.update(names)
        splits = [split for provenance in self._provenances.values() for split in provenance.trained_on]
        splits += [split for found in self._evaluated.values() for split in found]
        for name, meant in unknown_names(names, splits).items():
            _warn(
                f'allow_overlap: {name!r} names no dataset or split that is published, trained on or evaluated{meant}'
            )

    def _splits(self, dataset: Any) -> list[SplitRecord]:
        if id(dataset) not in self._evaluated:
            self._evaluated[id(dataset)] = provenance_of_dataset(dataset).trained_on
        return self._evaluated[id(dataset)]

    def _test_split(self, runner: Runner) -> list[SplitRecord]:
        """The split that the config will be tested on; without its files, it is left to the test."""
        if self._test is None:
            self._test = []
            loader, val = runner._test_dataloader, runner.cfg.get('val_dataloader')
            cfg = loader.get('dataset') if isinstance(loader, Mapping) else None
            if isinstance(cfg, Mapping) and not (isinstance(val, Mapping) and val.get('dataset') == cfg):
                try:
                    self._test = provenance_of_dataset(DATASETS.build(copy.deepcopy(cfg))).trained_on
                except FileNotFoundError as e:
                    print_log(f'the test split of the config is not compared with the training split: {e}', 'current')
        return self._test

    def _mark(self, evaluated: list[SplitRecord], metrics: dict[str, Any] | None) -> str:
        if not (overlaps := find_overlaps(evaluated, self.provenance.trained_on)):
            return ''
        text = '; '.join(map(str, overlaps))
        print_log(
            f'OVERLAP, allowed by name: {text}. These metrics do not hold for new images.', 'current', logging.WARNING
        )
        if metrics:
            metrics['overlap'] = float(sum(overlap.count for overlap in overlaps))  # JSON logs drop NumPy's integers
        return text


def _warn(text: str) -> None:
    print_log(text, 'current', logging.WARNING)
