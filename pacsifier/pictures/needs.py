"""Whether the libraries of the extra `pixels` are here; imports none of them."""

from __future__ import annotations

from importlib.util import find_spec

INSTALL = "pip install 'pacsifier[pixels]'"
_LIBRARIES = (
    *("numpy", "scipy", "PIL", "onnxruntime", "jinja2"),
    *("openjpeg", "rle"),
)
"""By the names they are imported under."""


def missing() -> tuple[str, ...]:
    """The libraries that are not installed."""
    return tuple(name for name in _LIBRARIES if find_spec(name) is None)
