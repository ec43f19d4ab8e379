"""A line that was found in part is blanked as a whole; where nothing goes on nothing is read again."""

from __future__ import annotations

import numpy as np
import pytest

from pacsifier.pictures.boxes import Box
from pacsifier.pictures.engine import Reading
from pacsifier.pictures.readingon import Line, read_on

# A line of text stands here in every picture below, its strokes of 200; what was found of it is FOUND.
WHOLE, FOUND = Box(20, 40, 180, 52), Box(90, 40, 120, 52)


def strokes(where: Box = WHOLE, level: int = 200) -> np.ndarray:
    grid = np.zeros((100, 200), np.uint8)
    grid[where.top : where.bottom, where.left : where.right : 2] = level
    return grid


class Scripted:
    """Reads as many letters as there are pairs of columns with strokes, as surely as it is told."""

    def __init__(self, confidence: float = 0.9) -> None:
        self.confidence = confidence
        self.shapes: list[tuple[int, ...]] = []

    def __call__(self, piece: np.ndarray) -> Reading:
        self.shapes.append(piece.shape)
        columns = np.flatnonzero((piece > 100).any(axis=0))
        wide = piece.shape[1]
        return Reading("x" * len(columns), self.confidence, columns[0] / wide, (columns[-1] + 1) / wide)


def whole_of(grid: np.ndarray, reader: Scripted, found: Box = FOUND, turn: int = 0) -> Line:
    return read_on(Line(found, turn, Reading("ab", 0.9)), grid, grid, reader)


def test_a_line_is_followed_to_both_its_ends_and_not_much_beyond() -> None:
    box = whole_of(strokes(), Scripted()).box
    assert box.holds(WHOLE)
    assert box.left >= WHOLE.left - 7 and box.right <= WHOLE.right + 7
    assert (box.top, box.bottom) == (FOUND.top, FOUND.bottom)


@pytest.mark.parametrize("turn", [0, 1, 2, 3])
def test_it_is_followed_whichever_way_it_is_turned(turn: int) -> None:
    grid = np.rot90(strokes(Box(70, 40, 180, 52)), -turn)
    flags = np.zeros_like(strokes())
    flags[FOUND.top : FOUND.bottom, FOUND.left : FOUND.right] = 1
    rows, columns = np.nonzero(np.rot90(flags, -turn))
    found = Box(int(columns.min()), int(rows.min()), int(columns.max()) + 1, int(rows.max()) + 1)
    box = whole_of(grid, Scripted(), found, turn).box
    covered = np.zeros_like(grid)
    covered[box.top : box.bottom, box.left : box.right] = 1
    upright = np.rot90(covered, turn)
    assert upright[40:52, 70:180].all()
    assert not upright[:, :60].any() and not upright[:, 190:].any()


@pytest.mark.parametrize(
    ("grid", "looks"),
    [
        (strokes(FOUND), 0),
        (np.maximum(strokes(FOUND), strokes(level=100)), 0),
        (np.maximum(strokes(FOUND), strokes(Box(140, 40, 180, 52))), 0),
    ],
    ids=["nothing beside it", "fainter beside it", "something further away"],
)
def test_what_does_not_look_like_the_line_is_not_read(grid: np.ndarray, looks: int) -> None:
    reader = Scripted()
    assert whole_of(grid, reader).box == FOUND
    assert len(reader.shapes) == looks


@pytest.mark.parametrize("confidence", [0.0, 0.44])
def test_strokes_that_cannot_be_read_are_no_part_of_the_line(confidence: float) -> None:
    reader = Scripted(confidence)
    assert whole_of(strokes(), reader) == Line(FOUND, 0, Reading("ab", 0.9))
    assert len(reader.shapes) == 1


def test_a_line_of_which_a_stripe_was_found_is_blanked_in_its_height() -> None:
    assert whole_of(strokes(), Scripted(), Box(90, 43, 120, 49)).box.holds(WHOLE)


def test_it_ends_at_the_border_of_the_picture() -> None:
    box = whole_of(strokes(Box(0, 40, 200, 52)), Scripted()).box
    assert box == Box(0, 40, 200, 52)
