"""The table of device layouts, and what lies outside the regions of ultrasound."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pacsifier.pictures import layouts
from pacsifier.pictures.boxes import Box, By
from pacsifier.pictures.layouts import Header, Layout


def _header(layout: Layout) -> Header:
    """A header that fits a row, with more around its words."""
    whole = {name: values[0].upper() for name, values in layout.whole}
    within = {name: f"The {values[-1].title()} II" for name, values in layout.within}
    return Header(layout.rows, layout.columns, **whole, **within)


TABLE = [
    pytest.param(layout, id=f"{layout.kind} {layout.columns}x{layout.rows}") for layout in layouts.table()
]


@pytest.mark.parametrize("layout", TABLE)
def test_a_device_in_the_table_has_its_rectangles_blanked(layout: Layout) -> None:
    found = layouts.boxes(_header(layout))
    assert {region.box for region in found} >= set(layout.blank)
    assert {region.by for region in found} == {By.RULE}


@pytest.mark.parametrize("layout", TABLE)
def test_a_rectangle_lies_in_its_picture_and_leaves_most_of_it(layout: Layout) -> None:
    flags = np.zeros((layout.rows, layout.columns), np.bool_)
    for box in layout.blank:
        assert box.within(layout.columns, layout.rows) == box
        flags[box.top : box.bottom, box.left : box.right] = True
    assert 0 < flags.mean() < 0.4


@pytest.mark.parametrize("layout", TABLE)
def test_nothing_is_blanked_by_rule_in_a_picture_of_another_size(layout: Layout) -> None:
    header = _header(layout)
    for rows, columns in ((layout.rows + 1, layout.columns), (layout.rows, layout.columns - 1)):
        assert layouts.boxes(replace(header, rows=rows, columns=columns)) == ()


@pytest.mark.parametrize("layout", TABLE)
def test_nothing_is_blanked_by_rule_where_another_word_of_the_header_differs(layout: Layout) -> None:
    for name, _ in (*layout.whole, *layout.within):
        assert not layout.fits(replace(_header(layout), **{name: "Other"}))


def test_every_row_asks_for_a_device() -> None:
    assert [layout.kind for layout in layouts.table() if "manufacturer" not in dict(layout.within)] == []


# --- regions of ultrasound ----------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(40))
def test_exactly_what_lies_in_no_region_is_blanked(seed: int) -> None:
    random = np.random.default_rng(seed)
    rows, columns = (int(each) for each in random.integers(20, 60, 2))
    inside = np.zeros((rows, columns), np.bool_)
    regions = []
    for _ in range(int(random.integers(1, 5))):
        left, top = (int(each) for each in random.integers(-5, 40, 2))
        box = Box(left, top, left + int(random.integers(1, 40)), top + int(random.integers(1, 40)))
        regions.append(box)
        inside[max(top, 0) : max(box.bottom, 0), max(left, 0) : max(box.right, 0)] = True
    times = np.zeros((rows, columns), int)
    for region in layouts.outside_regions(regions, rows, columns):
        times[region.box.top : region.box.bottom, region.box.left : region.box.right] += 1
    expected = np.zeros_like(times) if not inside.any() else (~inside).astype(int)
    np.testing.assert_array_equal(times, expected)


def test_a_region_that_is_the_picture_leaves_it_whole() -> None:
    assert layouts.outside_regions([Box(0, 0, 640, 480)], 480, 640) == ()


@pytest.mark.parametrize("regions", [[], [Box(0, 0, 0, 0)], [Box(700, 0, 900, 100)]])
def test_regions_that_say_nothing_blank_nothing(regions: list[Box]) -> None:
    assert layouts.outside_regions(regions, 480, 640) == ()
