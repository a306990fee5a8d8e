"""A folder of images and a folder of masks."""

from mmirstd.datasets.base import IRSTDDataset
from mmirstd.registry import DATASETS


@DATASETS.register_module()
class FolderDataset(IRSTDDataset):
    """One's own data: ``images/`` and ``masks/`` below ``data_root``, or what ``img_dir`` and ``mask_dir`` say.

    PNG, BMP, JPEG and TIFF may be mixed; a mask belongs to the image of the same name up to extension and
    ``mask_suffix``. All images are used unless ``ann_file`` lists a part of them.
    """
