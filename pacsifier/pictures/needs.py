"""Whether the libraries of the extra `pixels` are here; imports none of them."""

from __future__ import annotations

from importlib.util import find_spec

INSTALL = "pip install 'pacsifier[pixels]'"
_LIBRARIES = (
    *("numpy", "scipy", "PIL", "onnxruntime", "jinja2"),
    *("openjpeg", "rle"),
)
"""By the names they are imported under."""
PAGE = ("jinja2",)
"""What a page is written with."""
DRAWING = ("numpy", "PIL")
"""What pictures are drawn with; decoders of compressed ones apart."""


def missing(libraries: tuple[str, ...] = _LIBRARIES) -> tuple[str, ...]:
    """Those of the libraries that are not installed."""
    return tuple(name for name in libraries if find_spec(name) is None)
