_base_ = [
    '../_base_/models/sgem_unet.py',
    '../_base_/datasets/synthetic.py',
    '../_base_/schedules/sgem.py',
    '../_base_/default_runtime.py',
]
