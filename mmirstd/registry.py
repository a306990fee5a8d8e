"""Child registries of MMSegmentation's, scope ``mmirstd``.

``type='mmirstd.RepViT'`` builds inside any MMSegmentation config: mmengine imports this module when it meets the
prefix, and the parts themselves are imported when the first one is asked for.
"""

from mmengine.registry import OPTIM_WRAPPERS as MMENGINE_OPTIM_WRAPPERS
from mmengine.registry import RUNNERS as MMENGINE_RUNNERS
from mmengine.registry import STRATEGIES as MMENGINE_STRATEGIES
from mmengine.registry import Registry
from mmseg import registry as mmseg_registry

SCOPE = 'mmirstd'


def _child(name: str, parent: Registry, location: str) -> Registry:
    return Registry(name, parent=parent, scope=SCOPE, locations=[f'{SCOPE}.{location}'])


DATASETS = _child('dataset', mmseg_registry.DATASETS, 'datasets')
TRANSFORMS = _child('transform', mmseg_registry.TRANSFORMS, 'datasets.transforms')
MODELS = _child('model', mmseg_registry.MODELS, 'models')
METRICS = _child('metric', mmseg_registry.METRICS, 'evaluation.metrics')
VISUALIZERS = _child('visualizer', mmseg_registry.VISUALIZERS, 'visualization')
HOOKS = _child('hook', mmseg_registry.HOOKS, 'engine')
OPTIM_WRAPPERS = _child('optim_wrapper', MMENGINE_OPTIM_WRAPPERS, 'engine')
RUNNERS = _child('runner', MMENGINE_RUNNERS, 'engine')
STRATEGIES = _child('strategy', MMENGINE_STRATEGIES, 'engine')
