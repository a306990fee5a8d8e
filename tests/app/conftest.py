"""A model for the page that is built in a moment."""

import pytest

from mmirstd.app.session import ChoosableModels, ModelChoice


@pytest.fixture
def choice(tiny_config, tiny_checkpoint):
    """Config and checkpoint of a model of random weights, with many false alarms."""
    return ModelChoice(str(tiny_config()), str(tiny_checkpoint))


@pytest.fixture
def models(choice):
    """The models of the page, that one first."""
    return ChoosableModels([choice], 'cpu')
