"""Every part of every config changes the prediction, and every trainable parameter is trained.

The models are those of the shipped configs, shrunk: a new config is covered without a line here.
"""

import pytest
from perturbation import allowed_here, part_effects, randomize, silent_parameters, stubs, with_gradient
from small_configs import (
    CONFIGS,
    chooses,
    first_of_each_network,
    is_buildable,
    logits_of,
    name,
    small_model,
    small_size,
    training_batch,
)

# Prefix of the names of parameters -> why no prediction needs them. What is not there any more fails a test.
ALLOWED = {
    'auxiliary_head': 'it trains the backbone alone',
    'decode_head.supervision': 'masks of coarse maps, and their fusion with the finest, only train',
    'discriminator': 'it trains the generators alone',
    'backbone.last_merger': 'the last image that RPCANet makes is compared with the first',
    'backbone.dense.mask_norm': 'the early mask trains the queries alone',
    'backbone.dense.mask_mlp': 'the early mask trains the queries alone',
    'backbone.dense.mask_conv': 'the early mask trains the queries alone',
}
# Predictions need these, by their gradient; a standard deviation does not see them.
SHIFTS = {'decode_head.mask_bias': 'it adds the same number to every logit'}
# Predictions need these only to choose what is looked at: no logit has a gradient by them.
CHOICES = {
    'backbone.edge.exchanges.1.to_fine': "EGPNet's edge tells where the mask is looked at again",
    'backbone.proposals': "IAANet's boxes tell which pixels are looked at",
    'decode_head.detect': "IAANet's boxes tell which pixels are looked at",
    'neck.edge.0': "EGPNet's edge tells where the mask is looked at again",
    'decode_head.edge_out': "EGPNet's edge tells where the mask is looked at again",
}
UNTRAINED: dict[str, str] = {}


@pytest.fixture
def network(path):
    """The config's path, if it is the first of its network and its modules are there."""
    if path not in first_of_each_network():
        pytest.skip('another config has the same network')
    if not is_buildable(path):
        pytest.skip('needs mmpretrain: tests/interop builds it')
    return path


@pytest.mark.parametrize('path', CONFIGS, ids=name)
def test_the_prediction_depends_on_every_parameter(network):
    model = small_model(network)
    silent = silent_parameters(model, logits_of(network, model))
    choices = CHOICES if chooses(model) else {}
    assert not stubs(dict.fromkeys(silent, 0.0), allowed_here(dict(model.named_parameters()), ALLOWED | choices))


@pytest.mark.exhaustive
@pytest.mark.parametrize('path', CONFIGS, ids=name)
def test_every_part_moves_the_logits(network):
    """Drawing a layer anew changes the logits by more than 1 % of their deviation, down to single layers."""
    model = small_model(network)
    effects = part_effects(model, logits_of(network, model), depth=99)
    allowed = ALLOWED | SHIFTS
    if chooses(model):
        # In three draws a single layer may change no choice. Of all that it is a part of, something does.
        groups = {prefix: [effects[part] for part in effects if part.startswith(prefix)] for prefix in CHOICES}
        found = {prefix: group for prefix, group in groups.items() if group}
        assert all(max(group) > 0.01 for group in found.values())
        allowed = allowed | {prefix: CHOICES[prefix] for prefix, group in found.items() if min(group) <= 0.01}
    assert not stubs(effects, allowed_here(effects, allowed))


@pytest.mark.parametrize('path', CONFIGS, ids=name)
def test_every_trainable_parameter_is_trained(network):
    """One training loss gives it a gradient that is not zero for some weights; what is frozen gets none."""
    model = small_model(network)
    trainable = {parameter for parameter, p in model.named_parameters() if p.requires_grad}
    untrained = set(trainable)
    for seed in range(3):
        data = training_batch(model, small_size(network), seed=seed)
        model.zero_grad()
        randomize(model, seed, logits_of(network, model)).train()
        loss, _ = model.parse_losses(model(**data, mode='loss'))
        loss.backward()
        assert with_gradient(model) <= trainable
        untrained -= with_gradient(model)
        if not untrained:
            break
    assert not stubs(dict.fromkeys(untrained, 0.0), allowed_here(trainable, UNTRAINED))


def test_what_is_allowed_is_there():
    """Beside the tests above: a prefix that no network has is out of date, too."""
    left = ALLOWED | SHIFTS | CHOICES | UNTRAINED
    for path in filter(is_buildable, sorted(first_of_each_network(), reverse=True)):
        if not left:
            break
        left = {k: left[k] for k in left.keys() - allowed_here(dict(small_model(path).named_parameters()), left).keys()}
    assert not left
