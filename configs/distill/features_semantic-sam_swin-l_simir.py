# Semantic-SAM's features, as SimIR's authors distill; maps of about one size are compared. For a GPU.
_base_ = './features_sam_vit-b_simir.py'
pairs = [dict(student=s, teacher=t) for s, t in ((0, 0), (1, 0), (2, 1), (3, 2))]
model = dict(teacher=dict(_delete_=True, **_base_.semantic_sam_swin_l), pairs=pairs)
