import pickle
from dataclasses import FrozenInstanceError, asdict, fields, replace

import pytest

from mmirstd.evaluation.functional.protocols import METRIC_NAMES, PRESETS, Protocol, get_protocol, get_protocols

NAMES = ['exact', 'acm', 'dnanet', 'mshnet', 'irsam', 'simir', 'sctransnet', 'basicirstd', 'rpcanet']


def test_presets():
    assert list(PRESETS) == NAMES
    for name, protocol in PRESETS.items():
        assert protocol.name == name
        assert protocol.reported
        assert protocol.source or name == 'exact'
        assert get_protocol(name) is protocol
        assert Protocol(**asdict(protocol)) == protocol
        assert pickle.loads(pickle.dumps(protocol)) == protocol
    with pytest.raises(TypeError):
        PRESETS['mine'] = PRESETS['exact']
    with pytest.raises(FrozenInstanceError):
        PRESETS['exact'].threshold = 0.4


def test_exact_is_the_default():
    assert Protocol(name='exact', mismatch='resize') == PRESETS['exact']


def test_a_dict_changes_a_preset():
    changed = get_protocol(dict(preset='dnanet', threshold=0.4))
    assert changed == replace(PRESETS['dnanet'], threshold=0.4, name='dnanet(threshold=0.4)')
    assert get_protocol(dict(preset='dnanet', name='mine', size=[96, 64])).shape == (96, 64)
    assert get_protocol(dict(preset='mshnet', size=512)).shape == (512, 512)
    assert get_protocol(dict(preset='simir')) == PRESETS['simir']
    assert get_protocol(dict(name='own', distance=5, reported=['Pd'])).reported == ('Pd',)
    assert get_protocol(dict(name='own')).shape is None


def test_several():
    assert [p.name for p in get_protocols('all')] == NAMES
    assert get_protocols('acm') == get_protocols(['acm']) == get_protocols(PRESETS['acm']) == [PRESETS['acm']]
    assert get_protocols(dict(preset='acm')) == [PRESETS['acm']]
    assert len(get_protocols(('all', dict(preset='acm', size=256)))) == 10
    with pytest.raises(ValueError, match="two protocols are called 'acm'"):
        get_protocols(['acm', 'all'])
    with pytest.raises(ValueError, match='no protocol'):
        get_protocols([])


@pytest.mark.parametrize(
    ('field', 'value'),
    [
        ('name', ''),
        ('name', 3),
        ('threshold', 1),
        ('threshold', -0.1),
        ('threshold', float('nan')),
        ('threshold', '0.5'),
        ('normalize', 1),
        ('size', 0),
        ('size', 256.0),
        ('size', (256,)),
        ('size', (256, 0)),
        ('size', True),
        ('pred_interpolation', 'linear'),
        ('mask_interpolation', 'opencv-linear'),
        ('mismatch', 'pad'),
        ('iou_mask', '128'),
        ('niou_mask', None),
        ('target_mask', 'mixed'),
        ('f1_mask', 'mixed'),
        ('missed_mask', 255),
        ('matching', 'first'),
        ('distance', 0),
        ('distance', float('nan')),
        ('connectivity', 6),
        ('fa', 'by area'),
        ('fa_denominator', 'all'),
        ('fa_denominator', 0),
        ('fa_denominator', 2.5),
        ('niou_empty', 2),
        ('niou_empty', True),
        ('skip_empty', None),
        ('iou_eps', -1),
        ('ratio_eps', float('inf')),
        ('f1_eps', 'x'),
        ('auc_bins', 0),
        ('reported', ('IoU', 'mIoU')),
        ('reported', 'IoU'),
        ('source', None),
    ],
)
def test_bad_values_are_refused_by_name(field, value):
    with pytest.raises(ValueError, match=rf'{field} must be .*, not '):
        replace(PRESETS['exact'], **{field: value})


def test_every_field_is_checked():
    for field in fields(Protocol):
        with pytest.raises(ValueError, match=f'{field.name} must be'):
            replace(PRESETS['exact'], **{field.name: {'not': 'this'}})


@pytest.mark.parametrize(
    ('protocol', 'error', 'message'),
    [
        ('dna', ValueError, "no preset 'dna'; there are exact, acm, dnanet"),
        (dict(preset='all'), ValueError, "no preset 'all'"),
        (dict(preset=['acm']), ValueError, 'no preset'),
        (dict(preset='acm', treshold=0.4), ValueError, "no field 'treshold'"),
        (dict(threshold=0.4), ValueError, "needs a 'name'"),
        (dict(preset='acm', threshold=2), ValueError, r"protocol 'acm\(threshold=2\)': threshold must be"),
        (3, TypeError, 'not 3'),
    ],
)
def test_what_is_no_protocol_is_refused(protocol, error, message):
    with pytest.raises(error, match=message):
        get_protocol(protocol)


def test_reported_metrics_are_known_names():
    assert all(set(p.reported) <= set(METRIC_NAMES) for p in PRESETS.values())
