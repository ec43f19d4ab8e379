"""What the header says about where text stands: regions of ultrasound, and a table of devices, `data/layouts.txt`.

An addition to looking at the picture, never in its place. Imports nothing heavy.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from itertools import pairwise

from pacsifier.pictures.boxes import Box, By, Region

ANY = "-"


@dataclass(frozen=True)
class Header:
    """What of a file's header the table asks about; `image_type` with its backslashes, "" for what is absent."""

    rows: int
    columns: int
    modality: str = ""
    manufacturer: str = ""
    model: str = ""
    image_type: str = ""
    series_description: str = ""
    burned_in: str = ""


@dataclass(frozen=True)
class Layout:
    """One row of the table."""

    kind: str
    whole: tuple[tuple[str, tuple[str, ...]], ...]
    within: tuple[tuple[str, tuple[str, ...]], ...]
    columns: int
    rows: int
    blank: tuple[Box, ...]

    def fits(self, header: Header) -> bool:
        """Whether the header is of that device and its picture of that size."""
        if (header.columns, header.rows) != (self.columns, self.rows):
            return False
        return all(getattr(header, name).strip().casefold() in values for name, values in self.whole) and all(
            any(value in getattr(header, name).casefold() for value in values) for name, values in self.within
        )


def boxes(header: Header) -> tuple[Region, ...]:
    """What the table says is to be blanked in a picture with that header, by rule; its text names the device."""
    return tuple(
        Region(box, By.RULE, layout.kind) for layout in table() if layout.fits(header) for box in layout.blank
    )


def outside_regions(regions: Iterable[Box], rows: int, columns: int) -> tuple[Region, ...]:
    """All of a picture that lies in none of the regions (SequenceOfUltrasoundRegions), as boxes, by rule.

    Nothing where no region has pixels in the picture: then the header says nothing about where the image is.
    PS3.3 C.8.5.5: RegionLocationMaxX1 and MaxY1 are the last pixels inside, a box's right and bottom the first outside.
    """
    inside = [box for region in regions if (box := region.within(columns, rows))]
    if not inside:
        return ()
    edges = sorted({0, rows, *(each.top for each in inside), *(each.bottom for each in inside)})
    found: list[Box] = []
    for top, bottom in pairwise(edges):
        across = [(each.left, each.right) for each in inside if each.top <= top and each.bottom >= bottom]
        found += [Box(left, top, right, bottom) for left, right in _gaps(across, columns)]
    return tuple(Region(box, By.RULE, "outside the regions") for box in found)


@cache
def table() -> tuple[Layout, ...]:
    """The rows of the table in the file's order."""
    text = files("pacsifier.pictures").joinpath("data/layouts.txt").read_text(encoding="utf-8")
    head, *lines = (line.split("\t") for line in text.splitlines() if line and not line.startswith("#"))
    return tuple(_layout(dict(zip(head, line, strict=True))) for line in lines)


def _layout(cells: dict[str, str]) -> Layout:
    columns, rows = int(cells["columns"]), int(cells["rows"])
    return Layout(
        kind=cells["kind"],
        whole=tuple(_asked(cells, ("modality", "burned_in"))),
        within=tuple(_asked(cells, ("manufacturer", "model", "image_type", "series_description"))),
        columns=columns,
        rows=rows,
        blank=tuple(map(_box, cells["blank"].split(" "))),
    )


def _asked(cells: dict[str, str], names: Iterable[str]) -> Iterator[tuple[str, tuple[str, ...]]]:
    for name in names:
        if cells[name] != ANY:
            yield name, tuple(cells[name].casefold().split("|"))


def _box(text: str) -> Box:
    left, top, width, height = map(int, text.split(","))
    return Box(left, top, left + width, top + height)


def _gaps(taken: Iterable[tuple[int, int]], columns: int) -> Iterator[tuple[int, int]]:
    """What of a row of pixels no span takes."""
    start = 0
    for left, right in sorted(taken):
        if left > start:
            yield start, left
        start = max(start, right)
    if start < columns:
        yield start, columns
