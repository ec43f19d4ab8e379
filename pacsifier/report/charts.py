"""Charts as inline SVG: texts of elements that need nothing else, in the colours of the page. Pure.

They are built as trees and written by the standard library, which escapes every value. Each names itself for those who
do not see it; the figures stand beside it in words or in a table.
"""

from __future__ import annotations

import math
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from dataclasses import dataclass

WIDTH = 400
"""Of every chart, in the units of its view box; letters are 13 of them high."""
_ROW, _BAR, _GAP = 30, 18, 8
_PLOT_HEIGHT, _AXIS = 150, 22
_SMALLEST = 1.5


@dataclass(frozen=True)
class Bar:
    """One bar: its label, its length, and what is written behind or above it; `kind` is its class."""

    label: str
    value: float
    text: str = ""
    kind: str = "c1"


def bars(title: str, rows: Sequence[Bar]) -> str:
    """Bars from left to right, one below the other, with their labels before and their figures behind them."""
    label_width = min(max((len(each.label) for each in rows), default=0) * 9 + 14, 150)
    text_width = max((len(each.text) for each in rows), default=0) * 7.2 + 10
    room = max(WIDTH - label_width - text_width, 60)
    most = max((each.value for each in rows), default=0) or 1
    svg = _svg(title, _ROW * max(len(rows), 1))
    for at, each in enumerate(rows):
        y = at * _ROW + (_ROW - _BAR) / 2
        length = max(room * each.value / most, _SMALLEST)
        _text(svg, label_width - _GAP, y + _BAR - 5, _cut(each.label, 15), "end")
        _rect(svg, label_width, y, length, _BAR, each.kind, f"{each.label}: {each.text}")
        _text(svg, label_width + length + _GAP, y + _BAR - 5, each.text, kind="figure")
    return _written(svg)


def columns(title: str, values: Sequence[Bar], unit: str = "") -> str:
    """Columns side by side, on one line, with some of their labels below and the highest value at its height."""
    most = max((each.value for each in values), default=0) or 1
    svg = _svg(title, _PLOT_HEIGHT + _AXIS + 16)
    step = WIDTH / max(len(values), 1)
    width = min(max(step * 0.8, _SMALLEST), 40)
    _line(svg, 16)
    _text(svg, 0, 11, f"{_plain(most)}{unit}", kind="figure")
    every = label_step([each.label for each in values])
    for at, each in enumerate(values):
        height = max(_PLOT_HEIGHT * each.value / most, _SMALLEST) if each.value else 0
        x = at * step + (step - width) / 2
        if height:
            said = f"{each.label}: {each.text or _plain(each.value)}"
            _rect(svg, x, 16 + _PLOT_HEIGHT - height, width, height, each.kind, said)
        if at % every == 0 and each.label:
            middle = at * step + step / 2
            half = len(each.label) * 3.8
            anchor, place = ("start", 0.0) if middle < half else ("middle", middle)
            anchor, place = ("end", float(WIDTH)) if middle > WIDTH - half else (anchor, place)
            _text(svg, place, 16 + _PLOT_HEIGHT + 17, each.label, anchor)
    _line(svg, 16 + _PLOT_HEIGHT, "axis")
    return _written(svg)


def stacked(title: str, parts: Sequence[Bar]) -> str:
    """One bar of parts behind each other; those that would not be seen are as wide as can be seen."""
    parts = [each for each in parts if each.value > 0]
    total = sum(each.value for each in parts) or 1
    widths = [max(WIDTH * each.value / total, 4) for each in parts]
    scale = WIDTH / sum(widths) if widths else 1
    svg = _svg(title, 26)
    svg.attrib |= {"class": "chart thin", "preserveAspectRatio": "none"}
    x = 0.0
    for each, width in zip(parts, widths, strict=True):
        _rect(svg, x, 2, max(width * scale - 1, 1), 22, each.kind, f"{each.label}: {each.text}")
        x += width * scale
    return _written(svg)


@dataclass(frozen=True)
class Span:
    """A length of time on a time line, in seconds since 1970, and what it is."""

    began_s: float
    ended_s: float
    label: str
    kind: str = "c1"


def time_line(title: str, spans: Sequence[Span], first: str, last: str) -> str:
    """Spans on one line from the first begin to the last end, which `first` and `last` tell."""
    svg = _svg(title, 26 + _AXIS)
    began = min((each.began_s for each in spans), default=0.0)
    length = max((each.ended_s for each in spans), default=0.0) - began or 1
    _rect(svg, 0, 6, WIDTH, 14, "ground", "")
    for each in spans:
        x = (WIDTH - 4) * (each.began_s - began) / length
        width = max((WIDTH - 4) * (each.ended_s - each.began_s) / length, 4)
        _rect(svg, x, 2, width, 22, each.kind, each.label)
    _text(svg, 0, 26 + 16, first)
    _text(svg, WIDTH, 26 + 16, last, "end")
    return _written(svg)


def label_step(labels: Sequence[str]) -> int:
    """Every how many labels stand below columns so that none touches the next one. Pure."""
    longest = max(map(len, labels), default=0) * 7.6 + 14
    return max(math.ceil(longest * len(labels) / WIDTH), 1)


# --- the elements -------------------------------------------------------------------------------------------------


def _svg(title: str, height: float) -> ET.Element:
    attributes = {
        "viewBox": f"0 0 {WIDTH} {_short(height)}",
        "role": "img",
        "class": "chart",
        "aria-label": _clean(title),
    }
    return ET.Element("svg", attributes)


def _rect(svg: ET.Element, x: float, y: float, width: float, height: float, kind: str, said: str) -> None:  # noqa: PLR0917
    place = {"x": x, "y": y, "width": width, "height": height}
    rect = ET.SubElement(
        svg, "rect", {name: _short(value) for name, value in place.items()} | {"class": kind, "rx": "2"}
    )
    if said:
        ET.SubElement(rect, "title").text = _clean(said)


def _text(svg: ET.Element, x: float, y: float, text: str, anchor: str = "start", kind: str = "") -> None:  # noqa: PLR0917
    attributes = {"x": _short(x), "y": _short(y), "text-anchor": anchor} | ({"class": kind} if kind else {})
    ET.SubElement(svg, "text", attributes).text = _clean(text)


def _line(svg: ET.Element, y: float, kind: str = "grid") -> None:
    ET.SubElement(svg, "line", {"x1": "0", "x2": str(WIDTH), "y1": _short(y), "y2": _short(y), "class": kind})


def _written(svg: ET.Element) -> str:
    return ET.tostring(svg, encoding="unicode")


def _short(value: float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".")


def _plain(value: float) -> str:
    return f"{value:.0f}" if value >= 10 or value == int(value) else f"{value:.1f}"


def _clean(text: str) -> str:
    """Without the control characters that XML has no place for."""
    return "".join(each for each in text if each >= " ")


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"
