"""Infrared small target detection on MMSegmentation."""

import warnings

from .utils.stack import check_stack, keep_import_quiet, register_config_packages
from .version import __version__

register_config_packages(check_stack())
keep_import_quiet()
# Advice to install compiled ops, which nothing here uses.
warnings.filterwarnings('ignore', message='Fail to import ``MultiScaleDeformableAttention``')

__all__ = ['__version__']
