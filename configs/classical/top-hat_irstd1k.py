# Top-Hat (Tom et al., 1993).
_base_ = '../_base_/classical/irstd1k.py'
model = dict(backbone=dict(method='top_hat', size=5))
