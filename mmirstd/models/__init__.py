"""Models; importing this package registers all of them."""

from . import backbones, data_preprocessor, decode_heads, losses, necks  # noqa: F401
