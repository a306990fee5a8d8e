# As the released code has it: no WPMD, the edge from deep features alone, trained with Canny's edges, plain IoU loss.
_base_ = './irsam_tinyvit_no-wpmd_nuaa.py'
model = dict(
    backbone=dict(out_indices=(), out_merged=False),
    decode_head=dict(
        fuse='deep',
        early_channels=None,
        edge_target='sample',
        loss_decode=dict(log=False, smooth=1e-6),
    ),
)
train_pipeline = [
    *_base_.irsam_train_pipeline[:-1],
    dict(type='mmirstd.CannyEdge', low=100, high=200),
    _base_.irsam_train_pipeline[-1],
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
