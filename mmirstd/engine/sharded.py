"""Training with sharded parameters (FSDP), for encoders that do not fit one GPU: docs/how-to/distributed.md."""

import copy
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any

from mmengine._strategy import FSDPStrategy
from mmengine.device import get_device
from mmengine.dist import broadcast, is_main_process
from mmengine.hooks import EMAHook
from mmengine.optim import OptimWrapper
from mmengine.runner import FlexibleRunner
from torch import Tensor, nn
from torch.distributed.fsdp import FullyShardedDataParallel as FSDP
from torch.distributed.fsdp import StateDictType

from mmirstd.checkpoints.fitting import check_named_optimizer, load_strict
from mmirstd.checkpoints.loading import use_strict_loader
from mmirstd.checkpoints.state_dict import checkpoint_weights
from mmirstd.engine.distributed import start_gloo_on_cpu
from mmirstd.engine.optimizers import MuonAdamW
from mmirstd.engine.runner import StrictRunnerMixin, whole_checkpoint
from mmirstd.registry import RUNNERS, STRATEGIES


class ShardedOptimWrapper(OptimWrapper):
    """Clips gradients by their norm over all processes; MMEngine's takes that of each process's shards."""

    def optim_context(self, model: nn.Module) -> AbstractContextManager:
        """Remember the sharded model."""
        self._model = model
        return super().optim_context(model)

    def _clip_grad(self) -> None:
        norm = self._model.clip_grad_norm_(**self.clip_grad_kwargs)
        self.message_hub.update_scalar(f'train/{self.grad_name}', float(norm))


@STRATEGIES.register_module()
class ShardedStrategy(FSDPStrategy):
    """MMEngine's FSDPStrategy, which also runs without a GPU, over gloo. Checkpoints are whole, as those of any run.

    Args:
        shard: Names of the classes whose parameters are gathered when they run and given back after, such as
            ``['RepViTBlock']``; the rest is sharded as one. They must be run by calling them: a ``RepViT`` inside a
            ``QueryEncoder`` is not, its blocks are.
        model_wrapper: Further arguments of ``MMFullyShardedDataParallel``.
        kwargs: As those of FSDPStrategy; ``state_dict_cfg`` is 'full'.
    """

    def __init__(self, *, shard: Sequence[str], model_wrapper: dict | None = None, **kwargs: Any) -> None:
        if kwargs.setdefault('state_dict_cfg', 'full') != 'full':
            raise ValueError("ShardedStrategy: state_dict_cfg must be 'full'")
        if isinstance(shard, str) or not shard:
            raise ValueError(f'ShardedStrategy: shard must be a list of names of classes, not {shard!r}')
        if (kwargs.get('env_kwargs') or {}).get('launcher', 'none') == 'none':
            raise ValueError('ShardedStrategy needs several processes: start it with tools/dist_train.sh')
        use_strict_loader()
        super().__init__(model_wrapper=model_wrapper, **kwargs)
        self.shard = frozenset(shard)
        if get_device() == 'cpu':
            # "Offloaded" tensors would be views of memory that is freed: MMEngine's default ends in a crash.
            self.state_dict_config.offload_to_cpu = self.optim_state_dict_config.offload_to_cpu = False

    def _setup_distributed(self, launcher: str = 'pytorch', backend: str = 'nccl', **kwargs: Any) -> None:
        start_gloo_on_cpu(launcher, kwargs.get('timeout'))
        super()._setup_distributed(launcher, backend, **kwargs)

    def build_model(self, model: nn.Module | dict) -> nn.Module:
        """Build, and keep a copy without values, to compare checkpoints with."""
        model = super().build_model(model)
        names = {type(module).__name__ for module in model.modules()}
        if unknown := self.shard - names:
            raise ValueError(f'ShardedStrategy: the model has no {", ".join(sorted(unknown))} to shard')
        self._unsharded = copy.deepcopy(model).to('meta')
        return model

    def _wrap_model(self, model: nn.Module) -> nn.Module:
        self.model_wrapper = dict(self.model_wrapper or {})
        self.model_wrapper.setdefault('auto_wrap_policy', partial(_named, names=self.shard))
        if get_device() == 'cpu':
            self.model_wrapper.setdefault('device_id', 'cpu')
            for value in model.state_dict().values():
                broadcast(value)
        else:
            self.model_wrapper.setdefault('sync_module_states', True)
        return super()._wrap_model(model)

    def build_optim_wrapper(self, optim_wrapper: dict, model: nn.Module | None = None) -> OptimWrapper:
        """Build; gradients are clipped by their norm over all processes."""
        if optim_wrapper.get('clip_grad'):
            if optim_wrapper.get('type', 'OptimWrapper') != 'OptimWrapper':
                raise ValueError(
                    f'ShardedStrategy: with clip_grad, {optim_wrapper["type"]} would clip by the norm of each shard; '
                    'use OptimWrapper, and strategy.model_wrapper.mixed_precision'
                )
            if set(optim_wrapper['clip_grad']) - {'max_norm', 'norm_type'}:
                raise ValueError('ShardedStrategy: clip_grad takes max_norm and norm_type alone')
            optim_wrapper = {**optim_wrapper, 'type': ShardedOptimWrapper}
        built = super().build_optim_wrapper(optim_wrapper, model)
        if isinstance(built.optimizer, MuonAdamW):
            raise ValueError('ShardedStrategy: MuonAdamW needs whole matrices, and a process has parts of them')
        return built

    def load_model_state_dict(self, state_dict: dict, *, strict: bool = True, **kwargs: Any) -> None:
        """Load the whole model's weights; each process keeps its shards.

        Raises:
            CheckpointError: If they do not fit exactly.
        """
        weights = self.check_weights({'state_dict': state_dict}, 'the checkpoint')
        self.model.load_state_dict(weights)

    @property
    def parameter_shapes(self) -> dict[str, tuple[int, ...]]:
        """Of the parameters of the whole model that are trained, by name."""
        return {name: tuple(p.shape) for name, p in self._unsharded.named_parameters() if p.requires_grad}

    def check_weights(self, content: Mapping[str, Any], source: str) -> dict[str, Tensor]:
        """The weights in a checkpoint, which fit the whole model.

        Raises:
            CheckpointError: If they do not fit exactly.
        """
        weights = checkpoint_weights(content, source)
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')  # loading into it does nothing, which is what it is for
            load_strict(self._unsharded, weights, source)
        return weights

    def load_optim_state_dict(self, state_dict: dict) -> None:
        """Load the whole optimizer's state; MMEngine passes its arguments in the order of torch 2.0."""
        optimizer = self.optim_wrapper.optimizer
        with FSDP.state_dict_type(self.model, StateDictType.FULL_STATE_DICT):
            state = FSDP.optim_state_dict_to_load(model=self.model, optim=optimizer, optim_state_dict=state_dict)
        self.optim_wrapper.load_state_dict(state)


@RUNNERS.register_module()
class StrictFlexibleRunner(StrictRunnerMixin, FlexibleRunner):
    """FlexibleRunner with what StrictRunner adds for data and checkpoints. It trains; test with a StrictRunner."""

    def register_hooks(self, default_hooks: dict | None = None, custom_hooks: list | None = None) -> None:
        """Register, and refuse what cannot work with shards."""
        super().register_hooks(default_hooks, custom_hooks)
        if any(isinstance(hook, EMAHook) for hook in self.hooks):
            raise ValueError('EMAHook copies the model, which is not whole in any process: take it out')

    def call_hook(self, fn_name: str, **kwargs: object) -> None:
        """Call the hooks; checkpoints are brought into the form of StrictRunner's, and checked as there."""
        if fn_name == 'before_save_checkpoint':
            kwargs['checkpoint']['meta'].update(self._counts)
        if fn_name != 'after_load_checkpoint':
            super().call_hook(fn_name, **kwargs)
            return
        content = kwargs['checkpoint']
        self.check_parts(content)
        super().call_hook(fn_name, **kwargs)
        self.strategy.check_weights(content, str(self._checked_source or self._load_from))
        self.check_states(content)

    def check_optimizer(self, content: Mapping[str, Any], filename: str) -> None:
        """Compare the state of the optimizer, whose parameters have names, with the run's own."""
        check_named_optimizer(content, self.optim_wrapper.optimizer, self.strategy.parameter_shapes, filename)

    def test(self) -> dict:
        """Refuse: the model is not whole in any process, and what is tested is folded."""
        raise ValueError('test with the config that this one is based on: checkpoints are those of any run')

    def load_checkpoint(
        self,
        filename: str,
        map_location: str | Callable = 'cpu',
        strict: bool = True,
        revise_keys: Sequence[tuple[str, str]] = (),
    ) -> None:
        """Load weights that must fit exactly."""
        if not strict or revise_keys:
            raise ValueError('StrictFlexibleRunner loads exactly what fits; use StrictRunner for anything else')
        super().load_checkpoint(filename, map_location)

    def save_checkpoint(self, out_dir: str, filename: str, *args: Any, meta: dict | None = None, **kwargs: Any) -> None:
        """Collect on all processes, write on the first; under its own name a checkpoint is complete."""
        # MMEngine puts one iteration more into those that are written after validation.
        self._counts = {k: v for k, v in (meta or {}).items() if k in ('epoch', 'iter')}
        # The other processes write nothing.
        writing = whole_checkpoint(out_dir, filename) if is_main_process() else nullcontext(filename)
        with writing as name:
            super().save_checkpoint(out_dir, name, *args, meta=meta, **kwargs)


def _named(module: nn.Module, recurse: bool, nonwrapped_numel: int, names: frozenset[str]) -> bool:
    return recurse or type(module).__name__ in names
