"""Models; importing this package registers all of them."""

from . import backbones, baselines, classical, data_preprocessor, decode_heads, losses, necks, segmentors  # noqa: F401
