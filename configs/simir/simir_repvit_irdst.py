_base_ = [
    '../_base_/models/simir_repvit.py',
    '../_base_/datasets/irdst.py',
    '../_base_/schedules/simir.py',
    '../_base_/default_runtime.py',
]
