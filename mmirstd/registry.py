"""Child registries of MMSegmentation's, scope ``mmirstd``.

``type='mmirstd.RepViT'`` builds inside any MMSegmentation config: mmengine imports this module when it meets the
prefix, and the parts themselves are imported when the first one is asked for. A config with a base ``mmirstd::...``
has this scope; every part of MMSegmentation and MMEngine is found under it, too.
"""

from mmengine import registry as mmengine_registry
from mmengine.registry import Registry
from mmseg import registry as mmseg_registry

SCOPE = 'mmirstd'


class ChildRegistry(Registry):
    """A registry that imports the parts of its parents, too; MMEngine searches parents without importing them."""

    def import_from_location(self) -> None:
        """Import the modules of this registry and of all above it, once."""
        super().import_from_location()
        registry = self.parent
        while registry is not None:
            registry.import_from_location()
            registry = registry.parent


def _child(name: str, parent: Registry, location: str) -> Registry:
    return ChildRegistry(name, parent=parent, scope=SCOPE, locations=[f'{SCOPE}.{location}'])


DATA_SAMPLERS = _child('data sampler', mmengine_registry.DATA_SAMPLERS, 'datasets')
DATASETS = _child('dataset', mmseg_registry.DATASETS, 'datasets')
TRANSFORMS = _child('transform', mmseg_registry.TRANSFORMS, 'datasets.transforms')
MODELS = _child('model', mmseg_registry.MODELS, 'models')
METRICS = _child('metric', mmseg_registry.METRICS, 'evaluation.metrics')
VISBACKENDS = _child('vis_backend', mmengine_registry.VISBACKENDS, 'visualization')
VISUALIZERS = _child('visualizer', mmseg_registry.VISUALIZERS, 'visualization')
HOOKS = _child('hook', mmseg_registry.HOOKS, 'engine')
OPTIM_WRAPPER_CONSTRUCTORS = _child(
    'optimizer wrapper constructor', mmengine_registry.OPTIM_WRAPPER_CONSTRUCTORS, 'engine'
)
OPTIMIZERS = _child('optimizer', mmengine_registry.OPTIMIZERS, 'engine')
OPTIM_WRAPPERS = _child('optim_wrapper', mmengine_registry.OPTIM_WRAPPERS, 'engine')
RUNNERS = _child('runner', mmengine_registry.RUNNERS, 'engine')
STRATEGIES = _child('strategy', mmengine_registry.STRATEGIES, 'engine')

# A base taken as 'mmirstd::...' gives its parts this scope. Kinds that have no parts here need a child, too, so that
# MMEngine finds its own entries. A child without a location would make MMEngine search mmirstd for one.
for _name, _parent in (vars(mmengine_registry) | vars(mmseg_registry)).items():
    if isinstance(_parent, Registry) and _name not in globals():
        _child(_parent.name, _parent, 'registry')
