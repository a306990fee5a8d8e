_base_ = [
    '../_base_/models/simir_repvit.py',
    '../_base_/datasets/nuaa.py',
    '../_base_/schedules/simir.py',
    '../_base_/default_runtime.py',
]
