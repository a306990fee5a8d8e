# Plain fine-tuning of MobileSAM: no WPMD, no edge.
_base_ = './irsam_tinyvit_no-wpmd_nuaa.py'
model = dict(
    backbone=dict(out_indices=(), out_merged=False),
    decode_head=dict(with_edge=False, loss_edge=None, early_channels=None),
)
