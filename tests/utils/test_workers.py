import numpy as np
import pytest

from mmirstd.utils.errors import UserError
from mmirstd.utils.workers import map_in_processes


class WorkError(UserError):
    pass


def work(item):
    if item == 3:
        raise WorkError('3.png is damaged')
    if item == 4:
        raise ZeroDivisionError('4 is\nodd')
    return {'item': item, 'array': np.full(2, item)}


@pytest.mark.parametrize('workers', [0, 2])
def test_results_come_as_they_are_and_in_order(workers):
    found = list(map_in_processes(work, [2, 0, 1], workers, 'working', WorkError))
    assert [f['item'] for f in found] == [2, 0, 1]
    assert [type(f['array']) for f in found] == [np.ndarray] * 3
    assert list(map_in_processes(work, [], workers, 'working', WorkError)) == []


@pytest.mark.parametrize('workers', [0, 1])
def test_errors_are_one_line(workers, monkeypatch):
    monkeypatch.delenv('MMIRSTD_TRACEBACK', raising=False)
    results = map_in_processes(work, [0, 3], workers, 'working', WorkError)
    assert next(results)['item'] == 0
    with pytest.raises(WorkError, match=r'^3\.png is damaged$'):
        next(results)
    with pytest.raises(WorkError, match=r'^ZeroDivisionError: 4 is odd \(MMIRSTD_TRACEBACK=1 shows where\)$'):
        list(map_in_processes(work, [4], workers, 'working', WorkError))
    monkeypatch.setenv('MMIRSTD_TRACEBACK', '1')
    with pytest.raises(ZeroDivisionError):
        list(map_in_processes(work, [4], workers, 'working', WorkError))
