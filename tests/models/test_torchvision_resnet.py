"""ResNet from a file with torchvision's names; tests/interop compares its features with torchvision's."""

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope
from mmseg.registry import MODELS
from small_resnet import torchvision_state

from mmirstd.checkpoints.state_dict import CheckpointError
from mmirstd.models.backbones import TorchvisionResNet
from mmirstd.utils.configs import find_config


@pytest.fixture
def weights(tmp_path):
    """A function that writes random weights of torchvision's ResNet-18, 8 wide, and returns them with their path."""

    def write(**changes):
        state = torchvision_state(8) | changes
        state = {key: value for key, value in state.items() if value is not None}
        torch.save(state, tmp_path / 'resnet18-x.pth')
        return state, str(tmp_path / 'resnet18-x.pth')

    return write


def resnet(checkpoint, **kwargs):
    torch.manual_seed(0)
    small = dict(depth=18, base_channels=8, stem_channels=8)
    net = TorchvisionResNet(**small | kwargs, init_cfg=dict(type='Pretrained', checkpoint=checkpoint))
    drawn = net.conv1.weight.detach().clone()
    net.init_weights()
    return net, drawn


def test_all_weights_but_the_classifier_are_loaded(weights):
    state, path = weights()
    net, _ = resnet(path)
    own = net.state_dict()
    assert state.keys() - own.keys() == {'fc.weight', 'fc.bias'}
    assert all(torch.equal(own[key], value) for key, value in state.items() if not key.startswith('fc.'))
    assert {key for key in own.keys() - state.keys() if not key.endswith('num_batches_tracked')} == set()


def test_gray_images_and_fewer_stages(weights):
    state, path = weights()
    three = dict(num_stages=3, strides=(1, 2, 2), dilations=(1, 1, 1), out_indices=(2,), in_channels=1)
    net, drawn = resnet(path, **three)
    assert not hasattr(net, 'layer4')
    torch.testing.assert_close(net.conv1.weight, state['conv1.weight'].sum(1, keepdim=True))
    anew, drawn = resnet(path, load_stem=False, **three)
    torch.testing.assert_close(anew.conv1.weight, drawn)
    torch.testing.assert_close(anew.layer3[1].conv2.weight, state['layer3.1.conv2.weight'])
    assert anew(torch.rand(1, 1, 64, 64))[0].shape == (1, 32, 4, 4)


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'layer3.0.conv1.weight': None}, r'1 missing keys \(layer3.0.conv1.weight\)'),
        ({'layer5.0.conv1.weight': torch.zeros(1)}, r'1 unexpected keys \(layer5.0.conv1.weight\)'),
        ({'bn1.weight': torch.zeros(3)}, r'1 tensors of another shape \(bn1.weight'),
    ],
)
def test_what_does_not_fit_is_named(weights, changes, message):
    _, path = weights(**changes)
    with pytest.raises(CheckpointError, match=message):
        resnet(path)


def test_iaanet_starts_from_the_file(weights, tmp_path):
    state, path = weights()
    cfg = Config.fromfile(find_config('iaanet_mdfa')).model
    assert cfg.backbone.proposals.init_cfg.checkpoint == 'data/weights/resnet18-f37072fd.pth'
    cfg.backbone.proposals.update(base_channels=8, stem_channels=8)
    cfg.backbone.proposals.init_cfg.checkpoint = path
    cfg.decode_head.update(in_channels=[1, 32], pixel_channels=[8], embed_dims=8, num_layers=1, feedforward_channels=8)
    with DefaultScope.overwrite_default_scope('mmseg'):
        model = MODELS.build(cfg)
    model.init_weights()
    torch.testing.assert_close(
        model.backbone.proposals.layer2[0].downsample[0].weight, state['layer2.0.downsample.0.weight']
    )
    cfg.backbone.proposals.init_cfg.checkpoint = str(tmp_path / 'resnet18-none.pth')
    with DefaultScope.overwrite_default_scope('mmseg'):
        model = MODELS.build(cfg)
    with pytest.raises(CheckpointError, match=r'get it from https://download.pytorch.org/models, and put it there'):
        model.init_weights()
