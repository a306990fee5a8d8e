_base_ = [
    '../_base_/models/sgem_unet-s.py',
    '../_base_/datasets/synthetic.py',
    '../_base_/schedules/sgem-s.py',
    '../_base_/default_runtime.py',
]
# Scenes are drawn at the size of the crops: nothing is rendered that is not used.
train_pipeline = [
    dict(type='mmirstd.RenderScene'),
    dict(type='RandomFlip', prob=[0.25, 0.25], direction=['horizontal', 'vertical']),
    dict(type='PackSegInputs', meta_keys={{_base_.meta_keys}}),
]
train_dataloader = dict(dataset=dict(length=16384, size=(128, 128), pipeline=train_pipeline))
# As long as simir_repvit-fast_synthetic.py, to be compared with it.
max_iters = 1400
train_cfg = dict(max_iters=max_iters, val_interval=700)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.05, by_epoch=False, begin=0, end=100),
    dict(type='CosineAnnealingLR', eta_min=1e-5, by_epoch=False, begin=100, end=max_iters),
]
default_hooks = dict(checkpoint=dict(interval=700))
