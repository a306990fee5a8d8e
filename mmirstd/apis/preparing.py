"""Preparing the public sets and your own data, see :mod:`mmirstd.datasets.prepare`."""

from mmirstd.datasets.prepare import describe_sets, prepare

__all__ = ['describe_sets', 'prepare']
