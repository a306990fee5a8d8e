"""What helps on images of a set that was not trained on: variants of the fast SimIR's joint recipe without NUDT-SIRST.

``mmirstd ablate configs/_base_/ablations/generalization_simir_no-nudt.py --minutes 3 --seeds 0 1 --amp``

All of them train on NUAA-SIRST, IRSTD-1k and synthetic scenes, or on some of these, and are validated on the validation
split of NUDT-SIRST, a part of its training split, of which they see nothing.
"""

_base_ = '../../simir/simir_repvit-fast_joint_no-nudt.py'

val_dataloader = dict(dataset=dict(datasets=[dict(**_base_.sets[1], **_base_.val)]))
nuaa, irstd1k, synthetic = _base_.train_dataloader.dataset.dataset.datasets
scale, paste, crop, *symmetries, photometric, pack = _base_.train_pipeline


def sets(*parts):
    return dict(train_dataloader=dict(dataset=dict(dataset=dict(datasets=list(parts)))))


def pipeline(*transforms, size=128, batch=8):
    loader = dict(batch_size=batch, dataset=dict(pipeline=list(transforms)))
    return dict(train_dataloader=loader, model=dict(data_preprocessor=dict(size=(size, size))))


variants = {
    'base': dict(),
    # what is trained on
    'nuaa-alone': sets(nuaa),
    'irstd1k-alone': sets(irstd1k),
    'no-synthetic': sets(nuaa, irstd1k),
    'not-balanced': sets(dict(nuaa, times=1), irstd1k, synthetic),
    # augmentation
    'no-scale': pipeline(paste, crop, *symmetries, photometric, pack),
    'no-photometric': pipeline(scale, paste, crop, *symmetries, pack),
    'crop-256': pipeline(
        scale, paste, dict(crop, crop_size=(256, 256)), *symmetries, photometric, pack, size=256, batch=3
    ),
    'no-paste': pipeline(scale, crop, *symmetries, photometric, pack),
    # normalization
    'per-image': dict(model=dict(data_preprocessor=dict(min_std=1.0, mean=None, std=None))),
}
