_base_ = './irsam_tinyvit_nuaa.py'
model = dict(data_preprocessor=dict(inside_size=256))
