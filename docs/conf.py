"""How Sphinx builds the documentation: sphinx-build -W docs FOLDER (needs: pip install '.[docs]'; no network)."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1])]

import made  # noqa: E402
from sphinx.application import Sphinx  # noqa: E402

from pacsifier import __version__  # noqa: E402

project, author, release = "pacsifier", "The pacsifier developers", __version__
# Set, so that two builds of one state are the same.
project_copyright = author
extensions = ["myst_parser"]
html_theme = "furo"
html_title = f"pacsifier {__version__}"
html_show_sphinx = False
html_last_updated_fmt = None
myst_heading_anchors = 3
html_static_path = ["_static"]
html_css_files = ["tables.css"]
# Two hyphens are two hyphens: they begin an option.
smartquotes = False
exclude_patterns = ["_build"]
# Pages beside the README, which link to each other where they lie; in the tree they are pages as well.
_BESIDE = {name: f"{name.lower()}.md" for name in ("README", "BENCHMARKS", "CHANGELOG", "CONTRIBUTING")}


def _fill(_app: Sphinx, _page: str, source: list[str]) -> None:
    text = made.filled(source[0])
    for name, page in _BESIDE.items():
        text = text.replace(f"](../{name}.md", f"]({page}").replace(f"]({name}.md", f"]({page}")
    source[0] = text.replace("](docs/", "](")


def setup(app: Sphinx) -> dict[str, bool]:
    """Puts the made parts into the pages as they are read."""
    app.connect("source-read", _fill)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
