import copy

import pytest
import torch
from mmcv.cnn import ConvModule
from mmengine.evaluator import BaseMetric
from mmengine.hooks import EMAHook
from mmengine.model import BaseModel
from mmengine.runner import Runner
from torch import nn

from mmirstd.engine.hooks.switch_to_deploy import SwitchToDeployHook
from mmirstd.models.layers.reparam import ConvBN, RepVGGDW, fold_conv_bn, frozen_running_stats, switch_to_deploy


def randomise(net, seed=0):
    generator = torch.Generator().manual_seed(seed)
    for name, tensor in net.state_dict().items():
        if name.endswith('running_var'):
            tensor.uniform_(0.5, 2, generator=generator)
        elif tensor.is_floating_point():
            tensor.normal_(generator=generator)
    return net.eval()


BLOCKS = {
    'conv_bn': lambda: ConvBN(6, 10, 3, stride=2),
    'grouped': lambda: ConvBN(6, 6, 3, groups=6),
    'repvgg_dw': lambda: RepVGGDW(6),
    'repvgg_dw_branch_norm': lambda: RepVGGDW(6, branch_norm=True),
    'repvgg_dw_5': lambda: RepVGGDW(6, kernel_size=5),
    'conv_module': lambda: ConvModule(6, 4, 3, padding=1, norm_cfg={'type': 'BN'}),
    'conv_module_bias': lambda: ConvModule(
        6, 4, 3, bias=True, norm_cfg={'type': 'SyncBN'}, padding_mode='reflect', padding=1
    ),
    'sequential': lambda: nn.Sequential(nn.Conv2d(6, 4, 3), nn.BatchNorm2d(4), nn.GELU()),
    'shared': lambda: (lambda block: nn.Sequential(block, nn.GELU(), block))(ConvBN(6, 6)),
}


@pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
@pytest.mark.parametrize('name', BLOCKS)
def test_folded_equals_training_form(name, dtype):
    net = randomise(BLOCKS[name]()).to(dtype)
    x = torch.randn(2, 6, 9, 11, dtype=dtype)
    expected = net(x)
    holder = nn.ModuleDict({'net': net})
    assert switch_to_deploy(holder) == 1
    out = net(x)
    assert out.dtype == dtype
    tol = 1e-4 if dtype == torch.float32 else 1e-10
    torch.testing.assert_close(out, expected, atol=tol, rtol=tol)
    assert not any(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in net.modules())
    assert switch_to_deploy(holder) == 0
    torch.testing.assert_close(copy.deepcopy(net)(x), out, atol=0, rtol=0)


def test_after_mmcv_folding_during_training():
    net = randomise(ConvModule(6, 4, 3, norm_cfg={'type': 'BN'}))
    net.turn_on_efficient_conv_bn_eval()
    x = torch.randn(2, 6, 9, 9)
    expected = net(x)
    assert switch_to_deploy(net) == 1
    torch.testing.assert_close(net(x), expected, atol=1e-4, rtol=1e-4)


def _spectral(conv_module):
    nn.utils.parametrizations.spectral_norm(conv_module.conv)
    return conv_module


@pytest.mark.parametrize(
    'build',
    [
        lambda: ConvModule(6, 6, 3, norm_cfg={'type': 'BN'}, order=('norm', 'conv', 'act')),
        lambda: ConvModule(6, 6, 3, norm_cfg={'type': 'GN', 'num_groups': 2}),
        lambda: ConvModule(6, 6, 3, norm_cfg={'type': 'BN'}, conv_cfg={'type': 'ConvWS'}),
        lambda: _spectral(ConvModule(6, 6, 3, norm_cfg={'type': 'BN'})),
        lambda: ConvModule(6, 6, 3, norm_cfg={'type': 'BN', 'track_running_stats': False}),
        lambda: nn.Sequential(nn.Conv2d(6, 6, 3), nn.ReLU(), nn.BatchNorm2d(6)),
        lambda: nn.Sequential(nn.ConvTranspose2d(6, 6, 3), nn.BatchNorm2d(6)),
    ],
)
def test_what_does_not_fold_exactly_is_left_alone(build):
    net = randomise(build())
    x = torch.randn(2, 6, 9, 9)
    expected = net(x)
    assert switch_to_deploy(net) == 0
    torch.testing.assert_close(net(x), expected, atol=0, rtol=0)


def test_deployed_state_dict_loads_into_deploy_form():
    for training, deploy in ((ConvBN(6, 8, 3), ConvBN(6, 8, 3, deploy=True)), (RepVGGDW(6), RepVGGDW(6, deploy=True))):
        randomise(training).switch_to_deploy()
        deploy.load_state_dict(training.state_dict())
        x = torch.randn(1, 6, 5, 7)
        torch.testing.assert_close(deploy(x), training(x), atol=0, rtol=0)
        assert deploy.switch_to_deploy() == 0


def test_training_mode_does_not_fold():
    for net in (ConvBN(4, 4), RepVGGDW(4), nn.Sequential(nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4))):
        with pytest.raises(RuntimeError, match='eval mode'):
            switch_to_deploy(net.train())
    with pytest.raises(RuntimeError, match='running statistics'):
        fold_conv_bn(nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4, track_running_stats=False).eval())
    with pytest.raises(ValueError, match='odd'):
        RepVGGDW(4, kernel_size=4)


def test_own_method_answers_for_its_children():
    class Own(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = ConvBN(2, 2)
            self.calls = 0

        def switch_to_deploy(self):
            self.calls += 1

    own = Own().eval()
    assert switch_to_deploy(nn.ModuleList([own])) == 1
    assert own.calls == 1
    assert own.inner.bn is not None


def test_gradients_of_the_folded_form():
    net = randomise(RepVGGDW(3))
    net.switch_to_deploy()
    net(torch.randn(1, 3, 4, 4)).sum().backward()
    assert net.reparam.weight.grad is not None


def test_frozen_running_stats():
    bn = nn.BatchNorm2d(3).train()
    x = torch.randn(2, 3, 4, 4) + 1
    before = copy.deepcopy(bn.state_dict())
    with frozen_running_stats(nn.Sequential(bn)):
        out = bn(x)
    assert bn.momentum == 0.1
    for key, value in bn.state_dict().items():
        assert torch.equal(value, before[key])
    torch.testing.assert_close(bn(x), out)
    assert bn.num_batches_tracked == 1


class Net(BaseModel):
    def __init__(self):
        super().__init__()
        self.block = ConvBN(3, 3, 3)
        self.seen = []

    def forward(self, inputs, mode='tensor'):
        out = self.block(torch.stack(inputs) if isinstance(inputs, list) else inputs)
        if mode == 'loss':
            return {'loss': out.square().mean()}
        self.seen.append((self.block.bn is None, self.training))
        return list(out)


class Spread(BaseMetric):
    def process(self, data_batch, data_samples):
        self.results += [float(sample.std()) for sample in data_samples]

    def compute_metrics(self, results):
        return {'spread': sum(results)}


def make_runner(tmp_path, hooks):
    torch.manual_seed(0)
    loader = {
        'dataset': [{'inputs': torch.randn(3, 6, 6)} for _ in range(4)],
        'batch_size': 2,
        'sampler': {'type': 'DefaultSampler', 'shuffle': False},
    }
    return Runner(
        model=randomise(Net()),
        work_dir=str(tmp_path),
        train_dataloader=loader,
        val_dataloader=loader,
        test_dataloader=loader,
        train_cfg={'by_epoch': True, 'max_epochs': 2, 'val_interval': 1},
        val_cfg={},
        test_cfg={},
        val_evaluator=[Spread()],
        test_evaluator=[Spread()],
        optim_wrapper={'optimizer': {'type': 'SGD', 'lr': 0.01}},
        custom_hooks=hooks,
        default_hooks={'checkpoint': None},
        default_scope='mmseg',
        experiment_name=f'{tmp_path.name}_{len(hooks)}',
        log_level='WARNING',
    )


@pytest.mark.parametrize('before_val', [False, True])
def test_hook_tests_a_folded_copy(tmp_path, before_val):
    plain = make_runner(tmp_path, []).test()['spread']

    runner = make_runner(tmp_path, [{'type': 'EMAHook', 'momentum': 0.5}, SwitchToDeployHook(before_val)])
    model = runner.model
    assert runner.test()['spread'] == pytest.approx(plain, rel=1e-4)
    assert runner.model is model
    assert model.seen == []  # only the copy was run
    assert model.block.bn is not None

    runner.train()
    assert runner.model is model
    assert model.block.bn is not None
    assert model.seen == ([] if before_val else [(False, False)] * 4)

    averaged = copy.deepcopy(model).eval()
    ema = next(hook for hook in runner.hooks if isinstance(hook, EMAHook)).ema_model.module
    averaged.load_state_dict(dict(ema.named_parameters()), strict=False)
    images = torch.stack([data['inputs'] for data in runner.test_dataloader.dataset])
    with torch.no_grad():
        expected = sum(float(image.std()) for image in averaged(images))
        last = sum(float(image.std()) for image in copy.deepcopy(model).eval()(images))
    # The last validation saw the averaged weights, folded or not.
    assert runner.message_hub.get_scalar('val/spread').current() == pytest.approx(expected, rel=1e-4)
    assert last != pytest.approx(expected, rel=1e-3)


def test_hook_unwraps(tmp_path):
    class FakeRunner:
        model = nn.DataParallel(randomise(Net()).train())

    hook, runner, outer = SwitchToDeployHook(), FakeRunner(), FakeRunner.model
    hook.before_test_epoch(runner)
    assert isinstance(runner.model, Net)
    assert runner.model.block.bn is None
    assert not runner.model.training
    hook.after_test_epoch(runner, metrics={})
    assert runner.model is outer
    assert outer.module.training
