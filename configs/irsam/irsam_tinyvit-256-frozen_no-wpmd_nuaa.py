# The same without WPMD: only the decoder is trained.
_base_ = './irsam_tinyvit_no-wpmd_nuaa.py'
model = dict(data_preprocessor=dict(inside_size=256), backbone=dict(frozen=True))
