_base_ = './irsam_tinyvit_nuaa.py'
model = dict(decode_head=dict(with_edge=False, loss_edge=None))
