"""Synthetic scenes without targets, to test on: what a network finds in them is false."""

_base_ = './synthetic.py'
test_dataloader = dict(dataset=dict(scene=dict(target_counts=[1.0])))
