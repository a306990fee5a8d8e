# Low-rank updates of query and value projections in place of a full fine-tuning of the encoder.
_base_ = './irsam_samvit-b_nuaa.py'
model = dict(backbone=dict(backbone=dict(lora_rank=8)))
