"""Variants of the recipe of the small SGEM U-Net on NUDT-SIRST, one option each.

``mmirstd ablate configs/_base_/ablations/recipe_sgem_nudt.py --minutes 10 --seeds 0 1 --data-root data/NUDT-SIRST``

The base: crops of 128 x 128, 8 a batch, half of them around a target, pasted targets, AdamW 4e-3 with a cosine,
cross-entropy and soft IoU over the batch, averaged weights, channels-last, bfloat16.
"""

_base_ = '../../sgem/sgem_unet-s_5500_nudt.py'
optim_wrapper = dict(type='AmpOptimWrapper', loss_scale='dynamic')

paste, crop, flips, pack = _base_.train_pipeline
bce, iou = _base_.model.decode_head.loss_decode
(averaging,) = (hook for hook in _base_.custom_hooks if hook.type == 'EMAHook')
not_averaging = [hook for hook in _base_.custom_hooks if hook.type != 'EMAHook']
part = _base_.train_dataloader.dataset.dataset
square = dict(type='RandomRotFlip', rotate_prob=0.0, flip_prob=1.0)


def jitter(low, high):
    return dict(
        type='RandomResize',
        resize_type='mmirstd.AlignedResize',
        scale=(256, 256),
        ratio_range=(low, high),
        keep_ratio=True,
    )


def pipeline(*transforms, size=128, batch=8):
    loader = dict(batch_size=batch, dataset=dict(pipeline=list(transforms)))
    return dict(train_dataloader=loader, model=dict(data_preprocessor=dict(size=(size, size))))


def losses(*parts):
    return dict(model=dict(decode_head=dict(loss_decode=list(parts))))


def optimizer(**kwargs):
    return dict(optim_wrapper=dict(optimizer=dict(_delete_=True, **kwargs)))


def synthetic(length):
    """So many scenes beside the 597 images."""
    scenes = dict(type='mmirstd.SyntheticIRSTDDataset', length=length, seed=0, pipeline=part.pipeline, cache='memory')
    joined = dict(_delete_=True, type='ConcatDataset', datasets=[part, scenes])
    return dict(train_dataloader=dict(dataset=dict(dataset=joined)))


def deep(weight):
    heads = [
        dict(
            type='mmirstd.ConvHead',
            in_channels=width,
            in_index=level,
            init_cfg=_base_.model.decode_head.init_cfg,
            loss_decode=[dict(bce, loss_weight=weight), dict(iou, loss_weight=weight)],
        )
        for level, width in ((1, 32), (2, 64), (3, 128))
    ]
    return dict(model=dict(auxiliary_head=heads))


variants = {
    'base': dict(),
    # what is seen of an image
    'whole-batch2': pipeline(paste, flips, pack, size=256, batch=2),
    'whole-batch8': pipeline(paste, flips, pack, size=256, batch=8),
    'crop-192-batch4': pipeline(paste, dict(crop, crop_size=(192, 192)), flips, pack, size=192, batch=4),
    'target-share-0': pipeline(paste, dict(crop, target_prob=0.0), flips, pack),
    'target-share-0.9': pipeline(paste, dict(crop, target_prob=0.9), flips, pack),
    'borders-64': pipeline(paste, dict(crop, overshoot=64), flips, pack),
    'ignore-cut-targets': pipeline(paste, dict(crop, cut_targets='ignore'), flips, pack),
    # augmentation
    'no-paste': pipeline(crop, flips, pack),
    'paste-1': pipeline(dict(paste, prob=1.0), crop, flips, pack),
    'paste-after-crop': pipeline(crop, paste, flips, pack),
    'no-flips': pipeline(paste, crop, pack),
    'symmetries': pipeline(paste, crop, dict(type='RandomFlip', prob=0.5), square, pack),
    'scale-0.8-1.25': pipeline(jitter(0.8, 1.25), paste, crop, flips, pack),
    'scale-0.5-2': pipeline(jitter(0.5, 2.0), paste, crop, flips, pack),
    'photometric': pipeline(paste, crop, flips, dict(type='mmirstd.InfraredPhotometric'), pack),
    'photometric-0.2': pipeline(paste, crop, flips, dict(type='mmirstd.InfraredPhotometric', prob=0.2), pack),
    'synthetic-150': synthetic(150),
    'synthetic-600': synthetic(600),
    # losses
    'bce': losses(bce),
    'iou-batch': losses(iou),
    'bce-iou-image': losses(bce, dict(iou, per_image=True)),
    'bce-log-iou': losses(bce, dict(iou, log=True)),
    'bce-dice': losses(bce, dict(type='mmirstd.BinaryDiceLoss', per_image=False)),
    'bce-sls': losses(bce, dict(type='mmirstd.ScaleLocationLoss')),
    'focal-iou': losses(dict(type='mmirstd.BinaryFocalLoss'), iou),
    'bce-5-iou': losses(dict(bce, loss_weight=5.0), iou),
    'deep-0.4': deep(0.4),
    'deep-1': deep(1.0),
    # optimizer, rate, batch
    'rate-1e-3': dict(optim_wrapper=dict(optimizer=dict(lr=1e-3))),
    'rate-2e-3': dict(optim_wrapper=dict(optimizer=dict(lr=2e-3))),
    'rate-8e-3': dict(optim_wrapper=dict(optimizer=dict(lr=8e-3))),
    'decay-0.1': dict(optim_wrapper=dict(optimizer=dict(weight_decay=0.1))),
    'adam': optimizer(type='Adam', lr=4e-3, weight_decay=0),
    'sgd': optimizer(type='SGD', lr=0.05, momentum=0.9, nesterov=True, weight_decay=5e-4),
    'muon': optimizer(type='mmirstd.MuonAdamW', lr=4e-3, weight_decay=0.01),
    'no-clip': dict(optim_wrapper=dict(clip_grad=None)),
    'batch-4': dict(train_dataloader=dict(batch_size=4)),
    'batch-16': dict(train_dataloader=dict(batch_size=16)),
    'batch-32': dict(train_dataloader=dict(batch_size=32)),
    'halved-rate': dict(
        param_scheduler=[
            _base_.param_scheduler[0],
            dict(
                type='MultiStepLR',
                by_epoch=False,
                milestones=[_base_.max_iters * share // 4 for share in (1, 2, 3)],
                gamma=0.5,
                begin=0,
                end=_base_.max_iters,
            ),
        ]
    ),
    # averaging
    'no-average': dict(custom_hooks=not_averaging),
    'average-0.001': dict(custom_hooks=[*not_averaging, dict(averaging, momentum=0.001)]),
    # normalization, layout and type
    'per-image': dict(model=dict(data_preprocessor=dict(min_std=1.0, mean=None, std=None))),
    'one-normalization': dict(model=dict(data_preprocessor=dict(mean=[110.0] * 3, std=[35.0] * 3))),
    'not-channels-last': dict(
        custom_hooks=[hook for hook in _base_.custom_hooks if hook.type != 'mmirstd.ChannelsLastHook']
    ),
    'float32': dict(optim_wrapper=dict(_delete_=True, **_base_.optim_wrapper)),
    # the network
    'sgem-norm': dict(model=dict(neck=dict(sgem=dict(norm=True)))),
}
