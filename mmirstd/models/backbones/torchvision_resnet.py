"""MMSegmentation's ResNet with torchvision's weights, loaded strictly."""

import re

from mmseg.models.backbones import ResNet

from mmirstd.checkpoints.state_dict import StateDict
from mmirstd.models.published_weights import PublishedWeights
from mmirstd.registry import MODELS

_LAYER = re.compile(r'layer(\d)\.')


@MODELS.register_module()
class TorchvisionResNet(PublishedWeights, ResNet):
    """ResNet (He et al., CVPR 2016) that takes torchvision's files by ``init_cfg=dict(type='Pretrained', ...)``.

    Their keys are those of MMSegmentation's ResNet. The classifier and stages that are not built are left out; anything
    else that is missing or left over is an error, where MMEngine's loading goes on in silence.

    Args:
        load_stem: whether the first convolution is loaded too, for gray images summed over its channels; if not, it
            stays as it is drawn.
        kwargs: arguments of MMSegmentation's ResNet.
    """

    stem_weight = 'conv1.weight'

    def __init__(self, load_stem: bool = True, in_channels: int = 3, **kwargs: object) -> None:
        super().__init__(in_channels=in_channels, **kwargs)
        self.in_channels, self.load_stem = in_channels, load_stem

    def convert_state_dict(self, state_dict: StateDict) -> tuple[StateDict, list[str]]:
        """Take the stem and the stages that are built here from torchvision's weights."""
        left_out = [key for key in state_dict if key.startswith('fc.') or self._is_beyond(key)]
        return {key: value for key, value in state_dict.items() if key not in left_out}, left_out

    def load_pretrained(self, checkpoint: str, prefix: str | None = None) -> None:
        """Load weights from a file or URL, see :class:`PublishedWeights`."""
        drawn = self.conv1.weight.detach().clone()
        super().load_pretrained(checkpoint, prefix)
        if not self.load_stem:
            self.conv1.weight.data.copy_(drawn)

    def _is_beyond(self, key: str) -> bool:
        layer = _LAYER.match(key)
        return bool(layer) and self.num_stages < int(layer[1]) <= 4
