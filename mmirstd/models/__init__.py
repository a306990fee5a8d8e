"""Models; importing this package registers all of them."""

from . import backbones, decode_heads, losses, necks  # noqa: F401
