"""The fast SimIR on NUDT-SIRST without a part of it, or with more of one.

``mmirstd ablate configs/_base_/ablations/parts_simir_nudt.py --minutes 4 --seeds 0 --data-root data/NUDT-SIRST``

The networks are those of ../../simir/simir_repvit-fast_*nudt.py, the recipe is that of the long schedule: rate 2e-3,
channels-last, bfloat16.
"""

_base_ = [
    '../models/simir_repvit-fast.py',
    '../datasets/nudt.py',
    '../pipelines/paste128.py',
    '../schedules/fast_8000.py',
    '../default_runtime.py',
]
train_dataloader = dict(dataset=dict(pipeline={{_base_.train_pipeline}}))
optim_wrapper = dict(type='AmpOptimWrapper', loss_scale='dynamic')


def network(part):
    from mmengine.config import Config  # here, since MMEngine writes all that a config holds

    leaf = Config.fromfile(f'{{ fileDirname }}/../../simir/simir_repvit-fast_{part}_nudt.py')
    return dict(model=dict(leaf.model, _delete_=True))


variants = dict(base=dict(), **{p: network(p) for p in ('no-dense', 'all-places', 'tiny-fpn', 'fpn64', 'stem21')})
