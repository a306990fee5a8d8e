# Multiple subspace learning and spatial-temporal patch-tensor model (Sun et al., 2021), on synthetic sequences.
_base_ = '../_base_/classical/sequences.py'
model = dict(backbone=dict(method='mslstipt'))
