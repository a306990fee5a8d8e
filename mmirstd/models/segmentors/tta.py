"""Test-time augmentation: the mean of what a model predicts for several versions of an image."""

from collections.abc import Sequence

import torch
from mmengine.model import BaseTTAModel
from mmengine.structures import PixelData
from mmseg.models import SegTTAModel
from mmseg.structures import SegDataSample
from torch import nn

from mmirstd.registry import MODELS


@MODELS.register_module()
class IRSTDTTAModel(BaseTTAModel):
    """Averages probabilities over the versions of an image that ``TestTimeAug`` makes.

    The merged sample has `seg_logits`, float32 probabilities of one channel (of several, their softmax), and
    `pred_sem_seg`, what is above the threshold of the head (the most probable class), as without augmentation. Ground
    truth and meta information are those of the version that is not flipped, or of the first one. MMSegmentation's
    ``SegTTAModel`` applies a sigmoid to what are probabilities already.
    """

    def merge_preds(self, data_samples_list: Sequence[Sequence[SegDataSample]]) -> list[SegDataSample]:
        """Merge the predictions of each image.

        Args:
            data_samples_list: For each image, its predictions, flipped and resized back by the model.

        Raises:
            KeyError: If the samples do not say whether they are flipped: they may not have been flipped back then.
            ValueError: If the versions of an image were brought to different sizes.
        """
        return [self._merge(versions) for versions in data_samples_list]

    def _merge(self, versions: Sequence[SegDataSample]) -> SegDataSample:
        for version in versions:
            if 'flip' not in version.metainfo:
                raise KeyError('test-time augmentation: PackSegInputs needs flip and flip_direction in its meta_keys')
        maps = [version.seg_logits.data.float() for version in versions]
        if len(shapes := {tuple(m.shape) for m in maps}) > 1:
            raise ValueError(f'{versions[0].get("img_path")}: versions of different sizes {sorted(shapes)}')
        if len(maps[0]) > 1:
            maps = [m.softmax(0) for m in maps]
        probability = torch.stack(maps).mean(0)
        if len(probability) > 1:
            prediction = probability.argmax(0, keepdim=True)
        else:
            head = self.module.decode_head
            head = head[-1] if isinstance(head, nn.ModuleList) else head
            prediction = (probability > head.threshold).to(probability)
        merged = next((version for version in versions if not version.flip), versions[0])
        merged.set_data({'seg_logits': PixelData(data=probability), 'pred_sem_seg': PixelData(data=prediction)})
        return merged


def check_tta_model(model: nn.Module) -> None:
    """See that a model does not apply a sigmoid to probabilities.

    Raises:
        ValueError: If it is MMSegmentation's ``SegTTAModel`` around a head of one logit.
    """
    if isinstance(model, SegTTAModel) and getattr(model.module, 'out_channels', None) == 1:
        raise ValueError(
            'SegTTAModel applies a sigmoid to the probabilities of a head of one logit, so that nothing is below 0.5: '
            "use tta_model = dict(type='mmirstd.IRSTDTTAModel')"
        )
