"""MDvsFA's and IAANet's: images of MDFA, 128 x 128, as they are; of larger ones random crops. No flips."""

_base_ = './random128.py'
train_pipeline = [_base_.train_pipeline[0], _base_.train_pipeline[-1]]
