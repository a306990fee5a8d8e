"""Backbones."""

from mmirstd.models.backbones.diffused import DiffusedBackbone
from mmirstd.models.backbones.query_encoder import QueryEncoder
from mmirstd.models.backbones.repvit import RepViT
from mmirstd.models.backbones.sam_vit import SAMViT
from mmirstd.models.backbones.tiny_vit import TinyViT
from mmirstd.models.backbones.torchvision_resnet import TorchvisionResNet
from mmirstd.models.backbones.unet_encoder import UNetEncoder

__all__ = ['DiffusedBackbone', 'QueryEncoder', 'RepViT', 'SAMViT', 'TinyViT', 'TorchvisionResNet', 'UNetEncoder']
