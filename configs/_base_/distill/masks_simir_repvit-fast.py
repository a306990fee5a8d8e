"""The fast SimIR learns the masks of a teacher, which a config gives as `model.teacher`: SimIR's BCE, Dice and KL.

Its own losses, those of the early and the intermediate mask included, take the teacher's masks as labels.
"""

_base_ = '../models/simir_repvit-fast.py'
model = dict(
    _delete_=True,
    type='mmirstd.MaskDistiller',
    student=_base_.model,
    labels='teacher',
    losses=[
        dict(type='mmirstd.MaskBCEDistillationLoss'),
        dict(type='mmirstd.MaskDiceDistillationLoss', per_image=False),
        dict(type='mmirstd.MaskKLDistillationLoss', temperature=2.0),
    ],
)
