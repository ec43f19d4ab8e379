"""HTML pages with pictures in them: their templates, and pictures as a part of them.

jinja2 escapes every value, so that what a header holds is never taken for a part of the page. It comes with the extra.
"""

from __future__ import annotations

import base64
from importlib.resources import files
from typing import Any

_PARTS = "pacsifier.pictures"
"""Where `parts.html` lies, with the macros that pages share."""


def template(package: str, name: str) -> Any:
    """The template of a package, which may import `parts.html`."""
    import jinja2

    loader = jinja2.FunctionLoader(
        lambda wanted: _text(_PARTS if wanted == "parts.html" else package, wanted)
    )
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, loader=loader, trim_blocks=True, lstrip_blocks=True
    )
    return environment.get_template(name)


def _text(package: str, name: str) -> str:
    return files(package).joinpath(name).read_text(encoding="utf-8")


def data_uri(jpeg: bytes) -> str:
    """A JPEG file as the address of an image; "" for none."""
    return f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode()}" if jpeg else ""
