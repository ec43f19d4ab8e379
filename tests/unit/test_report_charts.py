"""Charts are whole SVG elements in which a value is data, and every bar lies within its drawing."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pacsifier.report.charts import WIDTH, Bar, Span, bars, columns, label_step, stacked, time_line

EVIL = "</title><script>alert(1)</script>\0\x08&\"'"
NAME = "{http://www.w3.org/2000/svg}"
_values = st.lists(st.floats(0, 1e15), max_size=80)


def elements(svg: str, name: str) -> list[ET.Element]:
    return [each for each in ET.fromstring(svg).iter() if each.tag.endswith(name)]


@pytest.mark.parametrize(
    "svg",
    [
        bars(EVIL, [Bar(EVIL, 1, EVIL)]),
        columns(EVIL, [Bar(EVIL, 1, EVIL)], EVIL),
        stacked(EVIL, [Bar(EVIL, 1, EVIL)]),
        time_line(EVIL, [Span(0, 1, EVIL)], EVIL, EVIL),
    ],
)
def test_a_value_is_data(svg):
    assert "<script" not in svg
    assert not elements(svg, "script")
    assert any("<script>alert(1)</script>" in (each.text or "") for each in ET.fromstring(svg).iter())


@pytest.mark.parametrize(
    "svg",
    [
        bars("t", []),
        columns("t", []),
        stacked("t", []),
        time_line("t", [], "", ""),
        stacked("t", [Bar("a", 0)]),
    ],
)
def test_nothing_to_draw_is_no_error(svg):
    assert ET.fromstring(svg).attrib["role"] == "img"


@given(_values)
def test_bars_lie_within_their_drawing_and_are_as_long_as_their_values(values):
    for svg in (
        bars("t", [Bar("MR", value, "1.25 MB") for value in values]),
        columns("t", [Bar("2019-03", value) for value in values]),
        stacked("t", [Bar("x", value, "1") for value in values]),
    ):
        height = float(ET.fromstring(svg).attrib["viewBox"].split()[3])
        for rect in elements(svg, "rect"):
            x, y, width, tall = (float(rect.attrib[name]) for name in ("x", "y", "width", "height"))
            assert x >= -0.02 and x + width <= WIDTH + 0.02
            assert y >= -0.02 and y + tall <= height + 0.02
            assert width > 0 and tall > 0


def test_the_longest_bar_is_that_of_the_largest_value():
    rects = elements(bars("t", [Bar("a", 1, "1"), Bar("b", 4, "4"), Bar("c", 2, "2")]), "rect")
    widths = [float(each.attrib["width"]) for each in rects]
    assert widths[1] == pytest.approx(4 * widths[0]) == pytest.approx(2 * widths[2])


@pytest.mark.parametrize("count", [1, 5, 12, 36, 48, 90])
def test_labels_below_columns_do_not_touch_each_other(count):
    labels = [f"2019-{at % 12 + 1:02}" for at in range(count)]
    assert label_step(labels) * WIDTH / count >= 7 * 7.6


def test_a_short_run_among_long_ones_is_seen():
    rects = elements(time_line("t", [Span(0, 1, "first"), Span(9e6, 1e7, "last")], "a", "b"), "rect")
    assert min(float(each.attrib["width"]) for each in rects) >= 4
