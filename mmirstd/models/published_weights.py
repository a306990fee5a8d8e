"""Loading of published weights into backbones and heads, by ``init_cfg``."""

from mmengine.logging import print_log
from mmengine.model import PretrainedInit

from mmirstd.checkpoints.fitting import load_strict
from mmirstd.checkpoints.loading import load_checkpoint
from mmirstd.checkpoints.state_dict import CheckpointError, StateDict, unwrap_state_dict


class PublishedWeights:
    """Mixin of MMEngine modules that take published checkpoints.

    They do so in ``init_cfg=dict(type='Pretrained', checkpoint=FILE_OR_URL, prefix=None)``. A subclass gives
    :meth:`convert_state_dict`, and a backbone the key of its convolution on the image as ``stem_weight``: for gray
    images that of an RGB checkpoint is summed over its input channels.
    """

    stem_weight: str | None = None
    in_channels: int

    def convert_state_dict(self, state_dict: StateDict) -> tuple[StateDict, list[str]]:
        """Turn weights of any known layout into this module's, its sizes included.

        Returns:
            The weights, all of them, and the keys that were left out.

        Raises:
            ValueError: If they are of something else; naming the keys.
        """
        raise NotImplementedError

    def init_weights(self) -> None:
        """Weights as built (the authors' initialization) or, with ``type='Pretrained'``, those of a checkpoint."""
        cfgs = [self.init_cfg] if isinstance(self.init_cfg, dict) else list(self.init_cfg or ())
        pretrained = [cfg for cfg in cfgs if cfg['type'] in ('Pretrained', PretrainedInit)]
        if self.is_init or not pretrained:
            super().init_weights()
            return
        given, self.init_cfg = self.init_cfg, [cfg for cfg in cfgs if cfg not in pretrained]
        super().init_weights()
        self.init_cfg = given
        for cfg in pretrained:
            self.load_pretrained(cfg['checkpoint'], cfg.get('prefix'))

    def load_pretrained(self, checkpoint: str, prefix: str | None = None) -> None:
        """Load weights from a file or URL, below `prefix` in it.

        Raises:
            CheckpointError: Naming file and keys, if weights are left over, missing or of another shape.
        """
        try:
            state, dropped = self.convert_state_dict(unwrap_state_dict(load_checkpoint(checkpoint), prefix))
        except ValueError as error:
            raise CheckpointError(f'{checkpoint}: {error}') from None
        if self.stem_weight in state and self.in_channels == 1:
            state[self.stem_weight] = state[self.stem_weight].sum(1, keepdim=True)
        load_strict(self, state, checkpoint)
        note = f'; left out {len(dropped)} of parts that are not built here' if dropped else ''
        print_log(f'{type(self).__name__}: loaded {len(state)} tensors from {checkpoint}{note}', 'current')
