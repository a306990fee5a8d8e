"""Text for messages."""

import re
from collections.abc import Iterable, Sequence
from difflib import get_close_matches


def abridge(names: Sequence[str], limit: int = 5) -> str:
    """Join the first few names for a message.

    >>> abridge(['a', 'b', 'c'], 2)
    'a, b, ...'
    """
    return ', '.join(shorten(str(name), 400) for name in names[:limit]) + (', ...' if len(names) > limit else '')


def shorten(text: str, most: int) -> str:
    """Cut a text that is too long for its place.

    >>> shorten('a file without line breaks', 10)
    'a file ...'
    """
    return text if len(text) <= most else f'{text[: most - 3]}...'


def format_threshold(threshold: float) -> str:
    """Show a threshold with digits that tell it from 1.

    >>> format_threshold(0.5), format_threshold(0.9999998)
    ('0.5', '1 - 2e-07')
    """
    return f'{threshold:.4g}' if threshold <= 0.999 else f'1 - {1 - threshold:.3g}'


def natural_key(text: str) -> list[str | int]:
    """A key that sorts numbers in texts by their value: frame 2 comes before frame 10.

    >>> sorted(['10.png', '2.png', '1.png'], key=natural_key)
    ['1.png', '2.png', '10.png']
    """
    return [int(part) if i % 2 else part for i, part in enumerate(re.split('([0-9]+)', text))]


def as_list(names: str | Sequence[str]) -> list[str]:
    """Return names as a list; one text is one name, not its characters.

    >>> as_list('all'), as_list(('a', 'b'))
    (['all'], ['a', 'b'])
    """
    return [names] if isinstance(names, str) else list(names)


def count_of(number: int, what: str, several: str = '') -> str:
    """Say how many of something there are.

    >>> count_of(1, 'image'), count_of(0, 'image'), count_of(2, 'box', 'boxes')
    ('1 image', '0 images', '2 boxes')
    """
    return f'{number} {what if number == 1 else several or what + "s"}'


def first_line(error: BaseException) -> str:
    """Type of an error and the first line of its message."""
    return f'{type(error).__name__}: {error}'.split('\n', 1)[0]


def did_you_mean(name: str, known: Iterable[str], most: int = 3) -> str:
    """Name what was perhaps meant, to go at the end of a message; empty if nothing comes near.

    >>> did_you_mean('modell', ['model', 'work_dir'])
    '; did you mean model?'
    """
    close = get_close_matches(name, list(known), most)
    return f'; did you mean {" or ".join(close)}?' if close else ''


def is_one_slip(name: str, other: str) -> bool:
    """Whether two names differ by one letter that was left out, added, replaced, or swapped with its neighbor.

    >>> is_one_slip('modle', 'model'), is_one_slip('optim_wraper', 'optim_wrapper'), is_one_slip('model', 'model')
    (True, True, False)
    """
    short, long = sorted((name, other), key=len)
    if len(short) < len(long):
        return any(long[:i] + long[i + 1 :] == short for i in range(len(long)))
    places = [i for i, (a, b) in enumerate(zip(name, other, strict=True)) if a != b]
    if len(places) == 2:
        i, j = places
        return j == i + 1 and (name[i], name[j]) == (other[j], other[i])
    return len(places) == 1
