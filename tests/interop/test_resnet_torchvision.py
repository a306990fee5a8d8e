"""ResNet-18 against torchvision's: its file loads, and features are the same. Needs torchvision."""

import pytest
import torch

from mmirstd.models.backbones import TorchvisionResNet

torchvision = pytest.importorskip('torchvision')


def test_features_are_those_of_torchvision(tmp_path):
    torch.manual_seed(0)
    theirs = torchvision.models.resnet18(weights=None)
    with torch.no_grad():
        for p in (*theirs.parameters(), *theirs.buffers()):
            if p.is_floating_point():
                p.uniform_(0.5, 1.5) if p.ndim == 1 else p.normal_(0, 0.05)
    theirs.eval()
    torch.save(theirs.state_dict(), tmp_path / 'resnet18.pth')
    ours = TorchvisionResNet(depth=18, init_cfg=dict(type='Pretrained', checkpoint=str(tmp_path / 'resnet18.pth')))
    ours.init_weights()
    ours.eval()  # MMSegmentation's returns None
    x = torch.rand(2, 3, 65, 96)
    with torch.no_grad():
        features = theirs.maxpool(theirs.relu(theirs.bn1(theirs.conv1(x))))
        for stage, mine in zip(('layer1', 'layer2', 'layer3', 'layer4'), ours(x), strict=True):
            features = getattr(theirs, stage)(features)
            torch.testing.assert_close(mine, features, rtol=1e-5, atol=1e-5)
