"""A folder of images, with a folder of masks or without."""

from typing import Any

from mmirstd.datasets.base import IRSTDDataset
from mmirstd.datasets.layout import Layout
from mmirstd.registry import DATASETS


@DATASETS.register_module()
class FolderDataset(IRSTDDataset):
    """One's own data: ``images/`` and ``masks/`` below ``data_root``, or what ``img_dir`` and ``mask_dir`` say.

    PNG, BMP, JPEG and TIFF may be mixed; a mask belongs to the image of the same name up to extension and
    ``mask_suffix``. Folders below belong to the names: the mask of ``images/day/1.png`` is ``masks/day/1.png``. All
    images are used unless ``ann_file`` lists a part of them.

    Args:
        mask_dir: Folder of the masks. None: there are none. With ``missing_mask='empty'`` all images are background.
            Otherwise they are predicted and drawn by a test, and evaluation is left out.
        kwargs: Arguments of :class:`IRSTDDataset`.

    Raises:
        ValueError: If there are no masks, and the images are neither for a test (``test_mode=True``) nor to be read
            alone (``use_masks=False``).
    """

    LAYOUTS = (Layout('images', 'masks', nested=True),)

    def __init__(self, *, mask_dir: str | None = 'masks', **kwargs: Any) -> None:
        if mask_dir is None and kwargs.get('missing_mask') == 'empty':
            self.reads_masks = False
        elif mask_dir is None:
            self.has_masks = self.reads_masks = False
            if not kwargs.get('test_mode') and kwargs.get('use_masks', True):
                raise ValueError(
                    f'{type(self).__name__}: training needs masks; mask_dir=None goes with test_mode=True, or '
                    "missing_mask='empty' for images of background"
                )
        super().__init__(mask_dir=mask_dir, **kwargs)
