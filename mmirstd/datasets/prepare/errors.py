"""What can be wrong with a download, or with what was asked for."""

from mmirstd.utils.errors import UserError


class PrepareError(UserError, ValueError):
    """An argument that cannot be used."""


class ArchiveError(PrepareError):
    """An archive that cannot or must not be unpacked; the message names it, and the member at fault."""


class SourceError(PrepareError):
    """What was given is not the set, or holds it more than once; the message says what was looked for."""
