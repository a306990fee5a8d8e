_base_ = [
    '../_base_/models/sgem_unet.py',
    '../_base_/datasets/nudt.py',
    '../_base_/schedules/sgem.py',
    '../_base_/default_runtime.py',
]
