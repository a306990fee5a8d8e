"""The console script ``mmirstd``: one subcommand for each thing to do, a thin shell over a function of the package."""

from .main import main

__all__ = ['main']
