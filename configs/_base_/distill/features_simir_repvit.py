"""The backbone of SimIR (RepViT-M1.1) learns the features of a teacher, which a config gives as `model.teacher`."""

_base_ = '../models/simir_repvit.py'
model = dict(
    _delete_=True,
    type='mmirstd.FeatureDistiller',
    student=_base_.model.backbone,
    student_preprocessor=_base_.model.data_preprocessor,
    losses=[dict(type='mmirstd.FeatureCosineLoss'), dict(type='mmirstd.FeatureStandardizedLoss')],
)
