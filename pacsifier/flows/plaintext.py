"""Plain text from what reporting systems put into a text value: HTML, entities, mis-decoded UTF-8.

On the standard library's parser. Tried instead: beautifulsoup4 4.15, whose `get_text` gives 6 of the 20 texts of
`tests/unit/test_reports.py` as a reader sees them. It takes `a<b and c>d` and `<dr.x@y.ch>` for tags and loses them,
and knows neither lists nor rows of a table; what it would save is the loop over the tags, a third of this module.
"""

from __future__ import annotations

import html
import re
from collections.abc import Callable
from html.parser import HTMLParser
from typing import Final


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


_BLOCKS: Final = _names(
    "address article aside blockquote body caption center dd div dl dt fieldset footer form h1 h2 h3 h4 h5 h6 header "
    "hr html li main nav ol p pre section table tbody tfoot thead tr ul"
)
_INLINE: Final = _names(
    "a abbr acronym b big br cite code del em font i img ins kbd label mark o:p q s samp small span strike strong sub "
    "sup td th tt u var"
)
_UNSEEN: Final = _names("head script style title xml")
_TAGS: Final = _BLOCKS | _INLINE | _UNSEEN | {"meta", "link", "col", "colgroup"}
_ATTRIBUTE: Final = r"""\s+[\w:-]+\s*=\s*(?:"[^"<>]*"|'[^'<>]*'|[^\s<>"']+)"""
_NAMES: Final = "|".join(sorted(map(re.escape, _TAGS), key=len, reverse=True))
# A tag as nobody writes it in prose: `a <b and c> d` is none.
_TAG: Final = re.compile(rf"<(?:!--|!doctype\b|/?(?:{_NAMES})(?:{_ATTRIBUTE})*\s*/?>)", re.IGNORECASE)
_LAYOUT: Final = re.compile(rf"</?(?:br|{'|'.join(sorted(_BLOCKS))})\b[^<>]*>", re.IGNORECASE)
_ENTITY: Final = re.compile(r"&(?:#[0-9]{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});")
_BLANKS: Final = re.compile(r"[ \t\r\n\f\v]+")
_UNPRINTABLE: Final = re.compile(r"[\x00-\x08\x0e-\x1f\x7f]")


def plain_text(text: str) -> str:
    """The text without markup, entities and mojibake; line ends as \\n, no blanks at the end of lines.

    Only what is certainly a tag is taken for markup: a `<` in prose stays. Mojibake (UTF-8 that was decoded as
    Latin-1 or Windows-1252) is repaired line by line, where ftfy is sure.
    """
    text = _repaired(text)
    if not _TAG.search(text):
        text = _ENTITY.sub(lambda entity: html.unescape(entity[0]), text)
    if _TAG.search(text):
        text = _without_markup(text)
    lines = _repaired(text).replace("\u00a0", " ").split("\n")
    return re.sub(r"\n{3,}", "\n\n", "\n".join(line.rstrip() for line in lines)).strip("\n")


def _repaired(text: str) -> str:
    import ftfy

    text = re.sub(r"\r\n?|\f|\v", "\n", text)
    return "\n".join(_UNPRINTABLE.sub("", ftfy.fix_encoding(line)) for line in text.split("\n"))


def _without_markup(text: str) -> str:
    parser = _Text(keeps_lines=not _LAYOUT.search(text))
    parser.feed(text)
    parser.close()
    return parser.text()


class _Text(HTMLParser):
    """Collects what a reader of a page sees, line by line."""

    def __init__(self, *, keeps_lines: bool) -> None:
        super().__init__(convert_charrefs=True)
        self._keeps_lines = keeps_lines
        self._out: list[str] = []
        self._at_start = True
        self._unseen = 0
        self._preformatted = 0
        self._lists: list[int | None] = []
        self._cells = 0
        self._ends: dict[str, Callable[[], None]] = {"ul": self._end_list, "ol": self._end_list}

    def text(self) -> str:
        """What was collected."""
        return "".join(self._out)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:  # noqa: ARG002
        """Begins a line, a list item, a cell; what is no tag of HTML is text."""
        if tag not in _TAGS:
            self._add(self.get_starttag_text() or "")
        elif tag in _UNSEEN:
            self._unseen += 1
        elif tag == "br":
            self._newline()
        elif tag in ("td", "th"):
            if self._cells:
                self._add("\t")
            self._cells += 1
        elif tag in _BLOCKS:
            self._start_line()
            self._start_block(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """As a start tag, and nothing is left open."""
        self.handle_starttag(tag, attrs)
        if tag in _UNSEEN or tag in _BLOCKS:
            self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        """Ends the line of a block."""
        if tag in _UNSEEN:
            self._unseen = max(0, self._unseen - 1)
        elif tag == "pre":
            self._preformatted = max(0, self._preformatted - 1)
        elif tag in self._ends:
            self._ends[tag]()
        if tag in _BLOCKS:
            self._start_line()

    def handle_data(self, data: str) -> None:
        """Adds text, its blanks and line ends as one blank except where they are the layout."""
        if self._unseen:
            return
        if self._preformatted or self._keeps_lines:
            self._add(data)
            return
        words = _BLANKS.sub(" ", data)
        behind_blank = self._at_start or self._out[-1].endswith(" ")
        self._add(words.lstrip(" ") if behind_blank else words)

    def _start_block(self, tag: str) -> None:
        if tag == "pre":
            self._preformatted += 1
        elif tag == "tr":
            self._cells = 0
        elif tag in ("ul", "ol"):
            self._lists.append(0 if tag == "ol" else None)
        elif tag == "li":
            number = self._lists[-1] if self._lists else None
            mark = "-"
            if number is not None:
                self._lists[-1] = number + 1
                mark = f"{number + 1}."
            self._out.append("  " * max(0, len(self._lists) - 1) + mark + " ")

    def _end_list(self) -> None:
        if self._lists:
            self._lists.pop()

    def _add(self, text: str) -> None:
        if text and not self._unseen:
            self._out.append(text)
            self._at_start = text.endswith("\n")

    def _newline(self) -> None:
        self._out.append("\n")
        self._at_start = True

    def _start_line(self) -> None:
        if not self._at_start:
            self._newline()
