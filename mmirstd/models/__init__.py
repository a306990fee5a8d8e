"""Models; importing this package registers all of them."""

from . import (  # noqa: F401
    backbones,
    baselines,
    classical,
    data_preprocessor,
    decode_heads,
    distillation,
    losses,
    necks,
    segmentors,
)
