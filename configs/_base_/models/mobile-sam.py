"""MobileSAM for plain fine-tuning: no WPMD, no edge."""

_base_ = './irsam_tinyvit_no-wpmd.py'
model = dict(
    backbone=dict(out_indices=(), out_merged=False),
    decode_head=dict(with_edge=False, loss_edge=None, early_channels=None),
)
