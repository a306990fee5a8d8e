"""Which files were verified before, so that a run need not decode a whole dataset again when it starts.

A file counts as verified while its size and its time of change are those it had then; what it was found to hold is
kept with them. One JSON file for each folder
lies in ``$MMIRSTD_CACHE``, by default ``mmirstd`` in the user's cache folder; ``MMIRSTD_CACHE=`` (empty) turns it off.
"""

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mmirstd.io.files import write_atomically
from mmirstd.version import __version__

State = list  # size in bytes, time of change in nanoseconds, and what was found, as JSON can hold it
_FORMAT = 2


def cache_folder() -> Path | None:
    """Folder of the cache; None if it is turned off."""
    own = os.environ.get('MMIRSTD_CACHE')
    if own is not None:
        return Path(own) if own else None
    return Path(os.environ.get('XDG_CACHE_HOME') or Path.home() / '.cache') / 'mmirstd'


class VerifiedFiles:
    """The files below one folder that were verified, here and in earlier runs of this version.

    Args:
        paths: Files that are about to be verified.
    """

    def __init__(self, paths: Sequence[str]) -> None:
        # The states are taken first: a file that changes while it is verified is verified again next time.
        self._now = {os.path.realpath(path): _state(path) for path in paths}
        folder = cache_folder() if self._now else None
        self._file = self._known = None
        if folder is not None:
            common = os.path.commonpath([os.path.dirname(path) for path in self._now])
            self._file = folder / f'verified-{hashlib.sha256(common.encode()).hexdigest()[:16]}.json'
        self._known = self._read()

    def _read(self) -> dict[str, State]:
        try:
            content = json.loads(self._file.read_text(encoding='utf-8')) if self._file else {}
            files = content['files'] if content.get('version') == _version() else {}
            return dict(files.items())
        # None yet, or not ours: all is verified again.
        except (OSError, ValueError, AttributeError, KeyError, TypeError, RecursionError):
            return {}

    def __contains__(self, path: str) -> bool:
        """Whether the file was verified as it is now."""
        path = os.path.realpath(path)
        return self._now.get(path) is not None and self._known.get(path, ())[:2] == self._now[path]

    def found(self, path: str) -> Mapping[str, Any]:
        """What a file was found to hold when it was verified, by what it was taken for; empty if it was not."""
        return self._known[os.path.realpath(path)][2] if path in self else {}

    def add(self, found: Mapping[str, Mapping[str, Any]]) -> None:
        """Note what verified files were found to hold, and write that down where there is a place for it."""
        found = {os.path.realpath(path): {**self.found(path), **content} for path, content in found.items()}
        new = {path: [*self._now[path], content] for path, content in found.items() if self._now[path] is not None}
        new = {path: state for path, state in new.items() if self._known.get(path) != state}
        if not new or self._file is None:
            return
        self._known = self._read() | new  # other runs may have written meanwhile
        try:
            write_atomically(self._file, json.dumps({'version': _version(), 'files': self._known}), flush=False)
        except OSError:  # a read-only or full home: a cache is no reason to end a run
            return


def _version() -> str:
    return f'{__version__}, format {_FORMAT}'


def _state(path: str) -> State | None:
    try:
        stat = os.stat(path)
    except OSError:  # missing or remote: whoever reads it says so
        return None
    return [stat.st_size, stat.st_mtime_ns]
