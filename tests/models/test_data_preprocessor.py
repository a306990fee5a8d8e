import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.registry import init_default_scope
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from torch import nn

CFG = dict(type='mmirstd.IRSTDDataPreProcessor', mean=[10.0], std=[2.0])


def batch(size, number=2):
    samples = [SegDataSample(metainfo=dict(img_shape=size, ori_shape=size)) for _ in range(number)]
    for sample in samples:
        sample.gt_sem_seg = PixelData(data=torch.zeros(1, *size, dtype=torch.long))
    return dict(inputs=[torch.randint(0, 256, (1, *size), dtype=torch.uint8) for _ in samples], data_samples=samples)


@pytest.mark.parametrize('size', [(33, 47), (32, 48), (16, 17), (1, 1)])
@pytest.mark.parametrize('mode', ['replicate', 'constant'])
def test_test_images_are_padded_to_the_divisor(size, mode):
    data = batch(size)
    raw = torch.stack(data['inputs']).float()
    out = MODELS.build(CFG | dict(test_divisor=16, test_pad_mode=mode))(data)
    height, width = size
    x = out['inputs']
    assert x.shape[2] % 16 == x.shape[3] % 16 == 0
    assert 0 <= x.shape[2] - height < 16
    assert 0 <= x.shape[3] - width < 16
    torch.testing.assert_close(x[..., :height, :width], (raw - 10) / 2)
    if mode == 'replicate':
        assert (x[..., height:, :width] == x[..., height - 1 : height, :width]).all()
        assert (x[..., width:] == x[..., width - 1 : width]).all()
    else:
        assert (x[..., height:, :] == 0).all()
        assert (x[..., width:] == 0).all()


def test_training_is_mmsegmentations():
    data = batch((20, 24))
    ours = MODELS.build(CFG | dict(test_divisor=16, size=(32, 32)))(data, training=True)
    assert ours['inputs'].shape == (2, 1, 32, 32)
    assert (ours['data_samples'][0].gt_sem_seg.data[0, 20:] == 255).all()


class Identity(nn.Module):
    """A backbone that hands the image on."""

    def forward(self, x):
        return (x,)


def test_the_padding_is_taken_off_the_prediction():
    head = dict(type='FCNHead', in_channels=1, channels=1, num_convs=0, concat_input=False, in_index=0, num_classes=2)
    cfg = dict(
        type='EncoderDecoder',
        data_preprocessor=CFG | dict(test_divisor=16),
        backbone=dict(type='UNet', in_channels=1, base_channels=2, norm_cfg=dict(type='BN')),
        decode_head=head | dict(out_channels=1, threshold=0.5, dropout_ratio=0.0),
        test_cfg=dict(mode='whole'),
    )
    init_default_scope('mmseg')  # MMEngine builds a model's preprocessor from its own registry
    model = MODELS.build(ConfigDict(cfg)).eval()
    model.backbone = Identity()
    with torch.no_grad():
        model.decode_head.conv_seg.weight.fill_(1)
        model.decode_head.conv_seg.bias.zero_()
    data = batch((33, 47), number=1)
    raw = data['inputs'][0].float()
    (result,) = model.test_step(data)
    torch.testing.assert_close(result.seg_logits.data, ((raw - 10) / 2).sigmoid())


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (dict(test_pad_mode='mirror'), "test_pad_mode='mirror'"),
        (dict(test_divisor=0), 'test_divisor=0'),
        (dict(test_cfg=dict(size_divisor=16)), 'test_divisor instead'),
    ],
)
def test_errors(change, message):
    with pytest.raises(ValueError, match=message):
        MODELS.build(CFG | change)


def test_reflection_needs_room():
    preprocessor = MODELS.build(CFG | dict(test_divisor=16, test_pad_mode='reflect'))
    assert preprocessor(batch((12, 12)))['inputs'].shape == (2, 1, 16, 16)
    with pytest.raises(ValueError, match='5x6 cannot be reflected'):
        preprocessor(batch((6, 5)))


@pytest.mark.parametrize('training', [False, True])
def test_one_channel_does_not_become_three(training):
    """Broadcasting would do it, and a backbone for three channels would not notice."""
    three = MODELS.build(dict(type='mmirstd.IRSTDDataPreProcessor', mean=[1.0] * 3, std=[2.0] * 3, size=(16, 16)))
    message = (
        r'images have 1 channel\(s\), but model.data_preprocessor.mean and .std 3 value\(s\).*in_channels.*LoadIRImage'
    )
    with pytest.raises(ValueError, match=message):
        three(batch((16, 16)), training)
    one = MODELS.build(CFG | dict(size=(16, 16)))
    data = batch((16, 16))
    data['inputs'] = [image.repeat(3, 1, 1) for image in data['inputs']]
    with pytest.raises(ValueError, match=r'images have 3 channel\(s\), but .* 1 value\(s\)'):
        one(data, training)
    assert three(data, training)['inputs'].shape == (2, 3, 16, 16)
    # As a loader with collate_fn='default_collate' gives them.
    with pytest.raises(ValueError, match='images have 3 channel'):
        one(data | dict(inputs=torch.stack(data['inputs'])), training)


def test_without_normalization_any_number_of_channels_passes():
    preprocessor = MODELS.build(dict(type='mmirstd.IRSTDDataPreProcessor', test_divisor=16))
    assert preprocessor(batch((16, 16)))['inputs'].shape == (2, 1, 16, 16)
    assert preprocessor(batch((16, 16)))['inputs'].dtype == torch.float32


@pytest.mark.parametrize('change', [dict(std=[2.0] * 3), dict(mean=None), dict(std=None)])
def test_mean_and_std_must_agree(change):
    with pytest.raises(ValueError, match='mean and std must have one value per channel, got mean='):
        MODELS.build(CFG | change)


@pytest.mark.parametrize(('inside', 'size'), [(64, (33, 47)), (16, (33, 47)), (47, (33, 47)), (20, (1, 40))])
@pytest.mark.parametrize('training', [False, True])
def test_inside_size(inside, size, training):
    data = batch(size)
    raw = (torch.stack(data['inputs']).float() - 10) / 2
    out = MODELS.build(CFG | dict(inside_size=inside, test_divisor=1, size=size))(data, training)
    x = out['inputs']
    assert max(x.shape[2:]) == inside
    assert x.shape[2] == max(round(size[0] * inside / size[1]), 1)
    expected = nn.functional.interpolate(raw, x.shape[2:], mode='bilinear', antialias=inside < size[1])
    torch.testing.assert_close(x, expected)
    for sample in out['data_samples']:
        assert sample.gt_sem_seg.data.shape == (1, *size)
        assert sample.metainfo['ori_shape'] == size


@pytest.mark.parametrize('inside', [32, 64, 100])
def test_predictions_come_back_from_inside_size(inside):
    """A smooth image handed on by the network is the prediction, at its own size, wherever it has been."""
    head = dict(type='FCNHead', in_channels=1, channels=1, num_convs=0, concat_input=False, in_index=0, num_classes=2)
    cfg = dict(
        type='EncoderDecoder',
        data_preprocessor=CFG | dict(test_divisor=16, inside_size=inside),
        backbone=dict(type='UNet', in_channels=1, base_channels=2, norm_cfg=dict(type='BN')),
        decode_head=head | dict(out_channels=1, threshold=0.5, dropout_ratio=0.0),
        test_cfg=dict(mode='whole'),
    )
    init_default_scope('mmseg')
    model = MODELS.build(ConfigDict(cfg)).eval()
    model.backbone = Identity()
    with torch.no_grad():
        model.decode_head.conv_seg.weight.fill_(1)
        model.decode_head.conv_seg.bias.zero_()
    data = batch((33, 47), number=1)
    y, x = torch.meshgrid(torch.arange(33), torch.arange(47), indexing='ij')
    data['inputs'] = [(10 + 3 * torch.sin(x / 9) + 2 * torch.cos(y / 7))[None]]
    expected = ((data['inputs'][0] - 10) / 2).sigmoid()
    (result,) = model.test_step(data)
    torch.testing.assert_close(result.seg_logits.data, expected, atol=0.03, rtol=0)


@pytest.mark.parametrize('inside', [0, -5])
def test_inside_size_must_be_positive(inside):
    with pytest.raises(ValueError, match=f'inside_size={inside} must be at least 1'):
        MODELS.build(CFG | dict(inside_size=inside))


@pytest.mark.parametrize('training', [True, False])
def test_images_are_standardized_each_by_itself(training):
    data = batch((33, 47), 3)
    data['inputs'][1] = torch.full((1, 33, 47), 77, dtype=torch.uint8)  # constant: no division by zero
    data['inputs'][2] = (data['inputs'][0].float() * 0.3 + 20).float()  # another camera's gain and offset
    raw = [image.double() for image in data['inputs']]
    cfg = dict(type=CFG['type'], min_std=4.0, size=(33, 47))
    out = MODELS.build(cfg)(data, training)['inputs']
    torch.testing.assert_close(out[0].double(), (raw[0] - raw[0].mean()) / raw[0].std(correction=0))
    assert (out[1] == 0).all()
    torch.testing.assert_close(out[2], out[0], atol=1e-5, rtol=0)


def test_a_flat_image_is_not_blown_up():
    data = batch((16, 16), 1)
    data['inputs'][0] = (100 + torch.randint(0, 2, (1, 16, 16))).to(torch.uint8)
    out = MODELS.build(dict(type=CFG['type'], min_std=4.0))(data)['inputs']
    assert out.abs().max() <= 1 / 4
    with pytest.raises(ValueError, match='min_std=0 must be positive'):
        MODELS.build(dict(type=CFG['type'], min_std=0))
