"""IRSAM as the released code has it: no WPMD, edges of deep features alone, learned from the sample, plain IoU loss."""

_base_ = './irsam_tinyvit_no-wpmd.py'
model = dict(
    backbone=dict(out_indices=(), out_merged=False),
    decode_head=dict(fuse='deep', early_channels=None, edge_target='sample', loss_decode=dict(log=False, smooth=1e-6)),
)
