"""Errors in one line."""

import pytest

from mmirstd.utils.errors import UserError, describe
from mmirstd.utils.text import abridge


@pytest.mark.parametrize(
    ('error', 'line'),
    [
        (UserError('a\n  b'), 'a b'),
        (FileNotFoundError('no file'), 'no file'),
        (KeyError('key'), 'KeyError: key (MMIRSTD_TRACEBACK=1 shows where)'),
    ],
)
def test_one_line(error, line):
    assert describe(error) == line


def test_what_is_quoted_does_not_fill_the_screen():
    """A split of one line without a break is one name."""
    assert len(describe(UserError('0' * 10**6))) == 4000
    assert abridge(['0' * 10**6, 'a']) == f'{"0" * 397}..., a'
