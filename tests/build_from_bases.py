"""In a fresh process: find every part of configs that have a base `mmirstd::...`, under the scope MMEngine gives them.

Prints what is not found, and every warning on the way.
"""

import logging
import os
import sys
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mmengine import registry
from mmengine.config import Config
from mmengine.logging import MMLogger

import mmirstd  # noqa: F401  what a user of `mmirstd::` imports, and no more

# Key of a config, in it or below -> registry of what is under it.
REGISTRIES = {
    'collate_fn': registry.FUNCTIONS,
    'custom_hooks': registry.HOOKS,
    'dataset': registry.DATASETS,
    'datasets': registry.DATASETS,
    'default_hooks': registry.HOOKS,
    'init_cfg': registry.WEIGHT_INITIALIZERS,
    'log_processor': registry.LOG_PROCESSORS,
    'model': registry.MODELS,
    'model_wrapper_cfg': registry.MODEL_WRAPPERS,
    'optim_wrapper': registry.OPTIM_WRAPPERS,
    'optimizer': registry.OPTIMIZERS,
    'param_scheduler': registry.PARAM_SCHEDULERS,
    'pipeline': registry.TRANSFORMS,
    'sampler': registry.DATA_SAMPLERS,
    'strategy': registry.STRATEGIES,
    'transforms': registry.TRANSFORMS,
    'tta_model': registry.MODELS,
    'vis_backends': registry.VISBACKENDS,
    'visualizer': registry.VISUALIZERS,
    **{f'{part}_cfg': registry.LOOPS for part in ('train', 'val', 'test')},
    **{f'{part}_evaluator': registry.METRICS for part in ('val', 'test')},
}
# Parts of MMSegmentation and MMEngine that a user adds, without a prefix.
ADDED = """
val_evaluator = dict(type='IoUMetric', _delete_=True)
custom_hooks = [dict(type='EMAHook'), dict(type='EarlyStoppingHook', monitor='mIoU')]
param_scheduler = [dict(type='PolyLR', by_epoch=False)]
optim_wrapper = dict(type='AmpOptimWrapper', optimizer=dict(type='SGD', lr=0.1))
visualizer = dict(type='SegLocalVisualizer', vis_backends=[dict(type='TensorboardVisBackend')])
model = dict(auxiliary_head=dict(type='FCNHead', _delete_=True))
train_cfg = dict(type='IterBasedTrainLoop')
test_pipeline = [dict(type='LoadImageFromFile'), dict(type='PackSegInputs')]
"""


def parts(node: Any, kind: registry.Registry | None, scope: str | None) -> Iterator[tuple[str, registry.Registry, str]]:
    """Every type of a config, with its registry and scope."""
    if isinstance(node, dict):
        scope = node.get('_scope_', scope)
        if kind is not None and isinstance(node.get('type'), str):
            yield node['type'], kind, scope
        for key, value in node.items():
            # A model's train_cfg is no loop, and the hook under 'param_scheduler' no scheduler.
            own = kind is registry.HOOKS or (kind is registry.MODELS and key in ('train_cfg', 'test_cfg'))
            yield from parts(value, kind if own else REGISTRIES.get(key, kind), scope)
    elif isinstance(node, (list, tuple)):
        for value in node:
            yield from parts(value, kind, scope)


class Printed(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        print(record.getMessage())


warnings.simplefilter('ignore', DeprecationWarning)
warnings.showwarning = lambda message, *_: print(message)
registry.init_default_scope('mmseg')
logger = MMLogger.get_current_instance()
logger.handlers = [Printed(logging.WARNING)]
os.chdir(tempfile.mkdtemp())
for name in sys.argv[1:]:
    for number, extra in enumerate(('', ADDED)):
        path = Path(f'{name.replace("/", "_")}_{number}.py')
        path.write_text(f'_base_ = {f"mmirstd::{name}.py"!r}\n{extra}')
        try:
            cfg = Config.fromfile(path)
            found = set(parts(cfg.to_dict(), None, None))
            if not found:
                print(f'{name}: no parts')
            for kind, where, scope in found:
                with where.switch_scope_and_registry(scope) as registry_of_scope:
                    try:
                        there = registry_of_scope.get(kind)
                    except RuntimeError:
                        there = None
                    if there is None:
                        print(f'{name}: {kind} is not in the registry {where.name} of scope {scope}')
        except Exception as error:
            print(f'{name}: {type(error).__name__}: {error}')
