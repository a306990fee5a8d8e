"""What users call: one function for each thing to do.

Each is imported when it is first asked for: ``from mmirstd.apis import train`` imports what training needs, no more.
"""

from importlib import import_module
from typing import Any

# Name -> module, of this package if it has no dot. No module here is called as what is in it: importing a submodule
# sets its name in the package to the module.
_MODULES = {
    'IRSTDInferencer': 'inferencer',
    'ablate_parts': 'part_ablation',
    'ablate_recipes': 'recipe_ablation',
    'benchmark': 'benchmarking',
    'benchmark_markdown': 'benchmark_report',
    'browse': 'browsing',
    'cache_teacher': 'teacher_caching',
    'calibrate': 'calibrating',
    'convert_checkpoint': 'mmirstd.checkpoints.convert',
    'convert_labels': 'label_conversion',
    'describe_configs': 'mmirstd.utils.configs',
    'describe_sets': 'mmirstd.datasets.prepare',
    'evaluate_predictions': 'evaluate',
    'export': 'exporting',
    'finetune': 'finetuning',
    'infer': 'infer_files',
    'init_model': 'inference',
    'list_models': 'inference',
    'model_complexity': 'complexity',
    'predict': 'predicting',
    'predict_by_models': 'comparing',
    'prepare': 'mmirstd.datasets.prepare',
    'publish': 'mmirstd.checkpoints.publishing',
    'reproduce': 'reproducing',
    'run_script': 'scripts',
    'synthesize': 'synthesizing',
    'test': 'testing',
    'train': 'training',
    'write_results': 'results_pages',
}

__all__ = sorted(_MODULES)


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    module = _MODULES[name]
    return getattr(import_module(module if '.' in module else f'{__name__}.{module}'), name)


def __dir__() -> list[str]:
    return __all__
