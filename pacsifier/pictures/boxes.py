"""Rectangles in a picture, and what was found in them. Imports nothing heavy: tables and pages use it, too."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum


@dataclass(frozen=True, order=True)
class Box:
    """A rectangle in pixels of the stored picture; `right` and `bottom` are the first column and row outside."""

    left: int
    top: int
    right: int
    bottom: int

    @property
    def width(self) -> int:
        """Columns."""
        return self.right - self.left

    @property
    def height(self) -> int:
        """Rows."""
        return self.bottom - self.top

    def grown(self, pixels: int) -> Box:
        """The same with so many pixels more on each side; may reach beyond the picture."""
        return Box(self.left - pixels, self.top - pixels, self.right + pixels, self.bottom + pixels)

    def moved(self, right: int, down: int) -> Box:
        """The same, so many pixels further."""
        return Box(self.left + right, self.top + down, self.right + right, self.bottom + down)

    def within(self, columns: int, rows: int) -> Box | None:
        """What of it lies in a picture of that size; None where nothing does."""
        left, top = max(self.left, 0), max(self.top, 0)
        right, bottom = min(self.right, columns), min(self.bottom, rows)
        return Box(left, top, right, bottom) if right > left and bottom > top else None

    def holds(self, other: Box) -> bool:
        """Whether the other lies in it, to the last pixel."""
        across = self.left <= other.left and other.right <= self.right
        return across and self.top <= other.top and other.bottom <= self.bottom

    def meets(self, other: Box) -> bool:
        """Whether the two share a pixel."""
        across = self.left < other.right and other.left < self.right
        return across and self.top < other.bottom and other.top < self.bottom


class By(Enum):
    """What found a region; all are blanked but SEEN, which nobody could read, and KEPT, a word that the user keeps."""

    RULE = "rule"
    READER = "reader"
    SHAPE = "shape"
    PERSON = "person"
    SEEN = "seen"
    KEPT = "kept"


@dataclass(frozen=True)
class Region:
    """A box with what found it; `text`: what was read there (identifying: for the page beside the key only).

    `confidence` is between 0 and 1: of the reader, where it read something, else of the detector.
    """

    box: Box
    by: By
    text: str = ""
    confidence: float = 1.0

    @property
    def blanked(self) -> bool:
        """Whether it is to be blanked; the rest is told."""
        return self.by not in (By.SEEN, By.KEPT)


def blanked_boxes(regions: Iterable[Region]) -> tuple[Box, ...]:
    """The boxes that are to be blanked, in order; one that lies in another is left out."""
    boxes = sorted({region.box for region in regions if region.blanked})
    largest_first = sorted(boxes, key=lambda box: box.width * box.height, reverse=True)
    kept: list[Box] = []
    for box in largest_first:
        if not any(other.holds(box) for other in kept):
            kept.append(box)
    return tuple(sorted(kept))
