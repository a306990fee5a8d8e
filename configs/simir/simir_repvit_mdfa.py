_base_ = [
    '../_base_/models/simir_repvit.py',
    '../_base_/datasets/mdfa.py',
    '../_base_/schedules/simir.py',
    '../_base_/default_runtime.py',
]
model = dict(data_preprocessor=dict(size=(128, 128)), backbone=dict(dense_size=(128, 128)))
