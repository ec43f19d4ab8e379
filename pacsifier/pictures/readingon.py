"""A line of text of which only a part was found: the reader reads on where strokes like its own go on.

The detector loses ends of lines that are small, pale, or stand on something uneven; the reader, shown the place, does
not. Asked only where the picture beside the box looks like the box, for a reading costs more than that.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import ceil

import numpy as np
from numpy.typing import NDArray

from pacsifier.pictures.boxes import Box
from pacsifier.pictures.cutting import LEVELS, Strokes
from pacsifier.pictures.engine import Picture, Reading

# Strokes go on where so many pixels, of the line's height, within REACH of its end, stand out nearly as its own do.
ENOUGH = 0.5
NEARLY = 0.6
REACH = 1.5
# How far is read on at once, and what stays around the last character, of the line's height; how often at most.
STEP = 4.0
BESIDE = 0.5
ROUNDS = 12
# A line of fewer pixels than letters have was found in part across, too.
THIN = 8


@dataclass(frozen=True)
class Line:
    """A line that was read; `turn`: the quarter turns to the left that bring it upright."""

    box: Box
    turn: int
    reading: Reading


def read_on(line: Line, picture: Picture, strokes: Strokes, read: Callable[[Picture], Reading]) -> Line:
    """The line with what goes on before and after it, where anything does that can be read."""
    for _ in range(ROUNDS):
        wide = _ahead(line, strokes)
        if wide == line.box:
            break
        piece = np.rot90(picture[wide.top : wide.bottom, wide.left : wide.right], line.turn)
        further = _longer(line, wide, read(np.ascontiguousarray(piece)))
        if further is None:
            break
        line = further
    return line


def _ahead(line: Line, strokes: Strokes) -> Box:
    """The box with what lies before and after it, on the sides on which strokes go on."""
    upright = line.turn % 2 == 0
    box, grid = (line.box, strokes) if upright else (_swapped(line.box), strokes.T)
    rows, columns = grid.shape
    height = box.height
    level = max(NEARLY * float(np.percentile(grid[box.top : box.bottom, box.left : box.right], 90)), LEVELS)
    across = height // 2 if height < THIN else 0
    reach, step = ceil(REACH * height), ceil(STEP * height)
    before = _goes_on(grid[box.top : box.bottom, max(box.left - reach, 0) : box.left], level)
    after = _goes_on(grid[box.top : box.bottom, box.right : box.right + reach], level)
    if not (before or after):
        return line.box
    wide = Box(
        max(box.left - step * before, 0),
        max(box.top - across, 0),
        min(box.right + step * after, columns),
        min(box.bottom + across, rows),
    )
    return wide if upright else _swapped(wide)


def _goes_on(strokes: NDArray[np.uint8], level: float) -> bool:
    return bool((strokes >= level).sum() >= ENOUGH * strokes.shape[0])


def _longer(line: Line, wide: Box, reading: Reading) -> Line | None:
    """The line as it was read with what lies beside it; None where that brought no more of it."""
    if reading.confidence < line.reading.confidence / 2 or _letters(reading) <= _letters(line.reading):
        return None
    upright = line.turn % 2 == 0
    old, new = (line.box, wide) if upright else (_swapped(line.box), _swapped(wide))
    first, last = reading.first, reading.last
    if line.turn in (2, 3):
        first, last = 1 - last, 1 - first
    edge = ceil(BESIDE * old.height)
    left = max(new.left + int(first * new.width) - edge, new.left)
    right = min(new.left + ceil(last * new.width) + edge, new.right)
    box = Box(min(left, old.left), new.top, max(right, old.right), new.bottom)
    if box.width - old.width < edge / 2:
        return None
    return Line(box if upright else _swapped(box), line.turn, reading)


def _letters(reading: Reading) -> int:
    return sum(each.isalnum() for each in reading.text)


def _swapped(box: Box) -> Box:
    return Box(box.top, box.left, box.bottom, box.right)
