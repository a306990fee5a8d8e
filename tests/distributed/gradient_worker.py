"""One process of a data-parallel step, which compares the averaged gradients with those of the whole batch."""

import copy

import torch
from mmengine.config import Config
from mmengine.model import MMDistributedDataParallel
from mmengine.optim import OptimWrapper
from mmengine.registry import init_default_scope
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from torch import distributed
from torch.nn.modules.batchnorm import _BatchNorm

BATCH, SIZE = 6, 32
LOSSES = dict(
    bce=dict(type='mmirstd.BinaryCrossEntropyLoss'),
    dice_of_images=dict(type='mmirstd.BinaryDiceLoss'),
    iou_of_images=dict(type='mmirstd.SoftIoULoss', log=True),
    iou_of_batch=dict(type='mmirstd.SoftIoULoss', per_image=False),
    points=dict(type='mmirstd.PointSampledLoss', num_points=64, losses=[dict(type='mmirstd.BinaryCrossEntropyLoss')]),
)


class Recorder(torch.optim.SGD):
    """Keeps the gradients of each step; its rate of zero leaves the weights alone."""

    def __init__(self, params):
        super().__init__(params, lr=0.0)
        self.steps = []

    def step(self, closure=None):
        self.steps.append([p.grad.clone() for p in self.param_groups[0]['params']])


def batch(indices, dtype, ignored=False):
    """Images and masks of 32 x 32 with a target of another size each; ``ignored`` marks a part of some as such."""
    samples = []
    for i in indices:
        generator = torch.Generator().manual_seed(i)
        image = torch.rand(3, SIZE, SIZE, generator=generator, dtype=torch.float64).to(dtype) * 160
        label = torch.zeros(1, SIZE, SIZE, dtype=torch.long)
        label[:, 4 + i : 7 + 2 * i, 5 : 9 + i] = 1
        if ignored and i in (0, 4):  # not equally many on every process
            label[:, 16:] = 255
        sample = SegDataSample(metainfo=dict(img_shape=(SIZE, SIZE), ori_shape=(SIZE, SIZE)))
        sample.gt_sem_seg = PixelData(data=label)
        samples.append((image, sample))
    images, samples = zip(*samples, strict=True)
    return dict(inputs=list(images), data_samples=list(samples))


def build(config, loss, dtype, with_cp):
    torch.manual_seed(0)
    cfg = copy.deepcopy(config)
    cfg.decode_head.loss_decode = LOSSES[loss]
    for part in (cfg.backbone, cfg.backbone.backbone, cfg.neck, cfg.decode_head):
        part.with_cp = with_cp
    model = MODELS.build(cfg).to(dtype)
    for name, p in model.named_parameters():  # what starts at zero keeps the gradient from what is behind it
        if name.endswith(('conv2.bn.weight', 'sampling_offsets.weight', 'attention_weights.weight')):
            torch.nn.init.normal_(p, std=0.3)
    model.train()
    for module in model.modules():
        if isinstance(module, _BatchNorm):
            module.eval()
    return model


def gradients(model, batches, accumulate):
    """Gradients of two steps, each over ``accumulate`` of the batches."""
    recorder = Recorder(model.parameters())
    wrapper = OptimWrapper(recorder, accumulative_counts=accumulate)
    wrapper.initialize_count_status(model, 0, 2 * accumulate)
    for data in batches * 2:
        model.train_step(data, wrapper)
    assert len(recorder.steps) == 2
    return recorder.steps


def difference(found, wanted):
    """Largest norm of a parameter's difference, over the norm of all gradients together."""
    total = torch.cat([g.flatten() for g in wanted]).norm()
    return max(float((a - b).norm() / total) for a, b in zip(found, wanted, strict=True))


CASES = {
    'float32': ('bce', torch.float32, {}),
    'float32, recomputed, accumulated': ('bce', torch.float32, dict(with_cp=True, accumulate=True)),
    'recomputed, accumulated': ('bce', torch.float64, dict(with_cp=True, accumulate=True)),
    'dice of images': ('dice_of_images', torch.float64, dict(ignored=True)),
    'IoU of images': ('iou_of_images', torch.float64, dict(ignored=True)),
    'BCE with ignored pixels': ('bce', torch.float64, dict(ignored=True)),
    'IoU of the batch': ('iou_of_batch', torch.float64, {}),
    'points': ('points', torch.float64, {}),
}


def compare(path, out):
    """Save by case: the differences at both steps, and how many parameters have a gradient of zero."""
    distributed.init_process_group('gloo')
    rank, world = distributed.get_rank(), distributed.get_world_size()
    init_default_scope('mmseg')
    config = Config.fromfile(path).model
    own, results = range(rank, BATCH, world), {}
    for name, (loss, dtype, options) in CASES.items():
        ignored = options.get('ignored', False)
        model = build(config, loss, dtype, options.get('with_cp', False))
        alone = gradients(copy.deepcopy(model), [batch(range(BATCH), dtype, ignored)], 1)[0]
        parts = [[i] for i in own] if options.get('accumulate') else [own]
        wrapped = MMDistributedDataParallel(model, broadcast_buffers=False, find_unused_parameters=False)
        steps = gradients(wrapped, [batch(part, dtype, ignored) for part in parts], len(parts))
        zero = [name for (name, _), g in zip(model.named_parameters(), alone, strict=True) if not g.any()]
        results[name] = ([difference(step, alone) for step in steps], zero)
    torch.save(results, out / f'{rank}.pth')
    del wrapped, model
    distributed.destroy_process_group()
