import io
import sys

import mmengine.dist
import pytest

from mmirstd.utils.progress import progress_bar


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize(
    ('stream', 'main', 'shown'), [(Terminal, True, True), (Terminal, False, False), (io.StringIO, True, False)]
)
def test_progress_bar_is_for_terminals_and_the_main_process(monkeypatch, stream, main, shown):
    monkeypatch.setattr('sys.stderr', stream())
    monkeypatch.setattr(mmengine.dist, 'is_main_process', lambda: main)
    assert list(progress_bar(range(3), 'reading', unit=' images')) == [0, 1, 2]
    assert ('reading' in sys.stderr.getvalue()) == shown


def test_progress_bar_can_be_updated_by_hand(monkeypatch):
    monkeypatch.setattr('sys.stderr', stream := Terminal())
    with progress_bar(total=5, description='writing') as bar:
        for _ in range(5):
            bar.update()
    assert 'writing' in stream.getvalue()
    assert bar.n == 5
