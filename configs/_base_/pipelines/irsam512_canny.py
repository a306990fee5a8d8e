"""As irsam512.py, with Canny's edges of the mask as the released code computes them."""

_base_ = './irsam512.py'
edges = dict(type='mmirstd.CannyEdge', low=100, high=200)
train_pipeline = [*_base_.train_pipeline[:-1], edges, _base_.train_pipeline[-1]]
