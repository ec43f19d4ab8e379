"""From how likely each pixel is text to regions that may be lines of text. Pure; `finding` says what they are.

The settings were chosen by measurement (BENCHMARKS.md); a smooth picture makes the detector call all of it
text, therefore what is too thick is cut again higher up, and what has no strokes in it is dropped.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import cast

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Grid = NDArray[np.float32]
Flags = NDArray[np.bool_]
Strokes = NDArray[np.uint8]

THRESHOLD = 0.3
SURE_ENOUGH = 0.5
# Thicker than this, in the detector's pixels, is no line of text: cut again at these, then dropped.
THICKEST = 70
HIGHER = (0.65, 0.83, 0.91)
THINNEST = 3
# Levels of grey by which a stroke stands out of its surroundings at least.
LEVELS = 15
_EIGHT = np.ones((3, 3), np.int8)


@dataclass(frozen=True)
class Blob:
    """A region of the detector's grid, first row and column outside; `likely`: its mean."""

    left: int
    top: int
    right: int
    bottom: int
    likely: float


def blobs(likely: Grid) -> list[Blob]:
    """The connected regions that may be lines of text, by the detector's answer (rows, columns)."""
    return list(_cut(likely, likely > THRESHOLD, 0, 0, HIGHER))


def strokes(picture: NDArray[np.uint8]) -> Strokes:
    """How much each pixel stands out of what is around it, lighter or darker: levels, (rows, columns).

    The larger of top-hat and black-hat in a window of 9 x 9; of a colour picture, the largest of its channels.
    """
    if picture.ndim == 3:
        found = strokes(picture[..., 0])
        for channel in (1, 2):
            np.maximum(found, strokes(picture[..., channel]), out=found)
        return found
    opened = _slid(_slid(picture, np.minimum), np.maximum)
    closed = _slid(_slid(picture, np.maximum), np.minimum)
    return cast(Strokes, np.maximum(picture - opened, closed - picture))


def _slid(picture: Strokes, pick: np.ufunc) -> Strokes:
    """The least or largest of 9 x 9 around each pixel; by halves, which numpy does in a tenth of scipy's time."""
    for _ in range(2):
        wide = np.pad(picture, ((4, 4), (0, 0)), mode="edge")
        two = pick(wide[:-1], wide[1:])
        four = pick(two[:-2], two[2:])
        picture = pick(pick(four[:-4], four[4:])[:-1], wide[8:]).T
    return picture


def _cut(likely: Grid, flags: Flags, left: int, top: int, higher: tuple[float, ...]) -> Iterator[Blob]:
    """What stands in `flags`; `left` and `top` say where this part of the grid lies in the whole."""
    numbers, _ = ndimage.label(flags, _EIGHT)
    for number, place in enumerate(ndimage.find_objects(numbers), 1):
        rows, columns = place
        height, width = rows.stop - rows.start, columns.stop - columns.start
        if min(height, width) < THINNEST:
            continue
        part, inside = likely[place], numbers[place] == number
        start = left + columns.start, top + rows.start
        if min(height, width) > THICKEST:
            if higher:
                yield from _cut(part, inside & (part > higher[0]), *start, higher[1:])
        elif (mean := float(part[inside].mean())) >= SURE_ENOUGH:
            yield Blob(*start, start[0] + width, start[1] + height, mean)
