_base_ = [
    '../_base_/models/simir_repvit-fast.py',
    '../_base_/datasets/synthetic.py',
    '../_base_/schedules/fast.py',
    '../_base_/default_runtime.py',
]
# Scenes are drawn at the size of the crops: nothing is rendered that is not used.
train_pipeline = [
    dict(type='mmirstd.RenderScene'),
    dict(type='RandomFlip', prob=[0.25, 0.25], direction=['horizontal', 'vertical']),
    dict(type='PackSegInputs', meta_keys={{_base_.meta_keys}}),
]
train_dataloader = dict(dataset=dict(length=16384, size=(128, 128), pipeline=train_pipeline))
