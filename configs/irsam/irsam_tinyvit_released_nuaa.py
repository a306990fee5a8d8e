"""As the released code has it: no WPMD, edges of deep features alone, trained with Canny's, plain IoU loss."""

_base_ = './irsam_tinyvit_no-wpmd_nuaa.py'
model = dict(
    backbone=dict(out_indices=(), out_merged=False),
    decode_head=dict(fuse='deep', early_channels=None, edge_target='sample', loss_decode=dict(log=False, smooth=1e-6)),
)
edges = dict(type='mmirstd.CannyEdge', low=100, high=200)
train_dataloader = dict(dataset=dict(pipeline=[*_base_.train_pipeline[:-1], edges, _base_.train_pipeline[-1]]))
