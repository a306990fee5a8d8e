"""As synthetic.py, training scenes at the size of the crops: nothing is rendered that is not used."""

_base_ = './synthetic.py'
train_dataloader = dict(dataset=dict(dataset=dict(length=16384, size=(128, 128))))
