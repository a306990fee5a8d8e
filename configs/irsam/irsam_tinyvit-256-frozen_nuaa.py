# For a CPU: MobileSAM's encoder stays as it is, WPMD and the decoder are trained.
_base_ = './irsam_tinyvit-256_nuaa.py'
model = dict(backbone=dict(backbone=dict(frozen=True)))
