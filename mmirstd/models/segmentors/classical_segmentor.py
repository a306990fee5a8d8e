"""A segmentor without weights."""

from typing import Any, NoReturn

from mmirstd.models.segmentors.encoder_decoder import IRSTDEncoderDecoder
from mmirstd.registry import MODELS
from mmirstd.utils.errors import UserError


class NotTrainableError(UserError, NotImplementedError):
    """A detector without weights was to be trained."""


@MODELS.register_module()
class ClassicalSegmentor(IRSTDEncoderDecoder):
    """Runs a detector without learning, ``ClassicalDetector``, with a ``ThresholdHead`` behind it.

    Testing, inference and pictures treat it as any other segmentor, without a checkpoint.
    """

    HAS_WEIGHTS = False

    def loss(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Refuse: there is nothing to train.

        Raises:
            NotTrainableError: Always.
        """
        raise NotTrainableError(f'{self.backbone.method} has no weights: there is nothing to train')
