"""What stands over the bars of a bar code, where the detector sees bars and the reader reads none of it.

A bar code alone changes along its bars nowhere but at their ends: what does is something written over it. It is
blanked with the strokes around the bar code that it goes on in; a bar code over which nothing stands is left. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from pacsifier.pictures.boxes import Box

Grey = NDArray[np.uint8]
Flags = NDArray[np.bool_]

# An edge of a bar: so many levels, so many pixels long. A bar code: so many edges, none further from the next one than
# what a name over them hides, so wide together.
EDGE = 60
LONG = 16
FEWEST = 24
APART = 48
WIDEST_LINE = 64
# What is written over it: so many levels along the bars, away from their ends, in so many pixels; letters of a line
# stand no further from one another than NEAR, rows and columns.
CHANGE = 40
ENDS = 3
PIXELS = 8
NEAR = (9, 11)


def over_bars(picture: NDArray[np.uint8]) -> list[Box]:
    """Where something stands over a bar code, upright or on its side."""
    grey = picture if picture.ndim == 2 else np.asarray(Image.fromarray(picture).convert("L"))
    sideways = (Box(box.top, box.left, box.bottom, box.right) for box in _over(grey.T))
    return [*_over(grey), *sideways]


def _over(grey: Grey) -> Iterator[Box]:
    for code in _codes(grey):
        yield from _written(grey, code)


def _codes(grey: Grey) -> Iterator[Box]:
    """Boxes of the bar codes whose bars run down."""
    edges = _apart(grey[:, 1:], grey[:, :-1]) >= EDGE
    if edges.sum() < LONG * FEWEST:
        return
    edges = _long(edges)
    if not edges.any():
        return
    joined = ndimage.maximum_filter1d(edges.view(np.uint8), APART + 1, axis=1)
    for place in ndimage.find_objects(ndimage.label(joined)[0]):
        part = edges[place]
        columns = np.flatnonzero(part.any(axis=0))
        if len(columns) >= FEWEST:
            # Where most of them begin and end: a letter may lengthen a bar, or hide the end of one.
            first, last = part[:, columns].argmax(axis=0), part[::-1, columns].argmax(axis=0)
            down, across = place
            top, bottom = down.start + int(np.median(first)), down.stop - int(np.median(last))
            yield Box(across.start + int(columns[0]), top, across.start + int(columns[-1]) + 2, bottom)


def _apart(one: Grey, other: Grey) -> Grey:
    return np.maximum(one, other) - np.minimum(one, other)


def _long(edges: Flags) -> Flags:
    """The edges that go on for so many rows."""
    rows = edges.shape[0] - LONG + 1
    if rows < 1:
        return np.zeros_like(edges)
    starts, size = edges, 1
    while size < LONG:
        starts = starts[:-size] & starts[size:]
        size *= 2
    found = np.zeros_like(edges)
    for offset in range(LONG):
        found[offset : offset + rows] |= starts
    return found


def _written(grey: Grey, code: Box) -> Iterator[Box]:
    """Boxes of what stands over one bar code, with what of it stands beside the bars."""
    rows, columns = grey.shape
    around = code.grown(WIDEST_LINE).within(columns, rows)
    if around is None:
        return
    part = grey[around.top : around.bottom, around.left : around.right]
    inside = code.moved(-around.left, -around.top)
    along = np.zeros(part.shape, np.bool_)
    along[1:] = _apart(part[1:], part[:-1]) >= CHANGE
    over = np.zeros_like(along)
    bars = slice(inside.top + ENDS, max(inside.bottom - ENDS, 0)), slice(inside.left, inside.right)
    over[bars] = along[bars]
    if over.sum() < PIXELS:
        return
    # The ends of the bars would join everything.
    along[max(inside.top - ENDS, 0) : inside.bottom + ENDS, inside.left : inside.right] = False
    numbers, _ = ndimage.label(ndimage.maximum_filter((along | over).view(np.uint8), NEAR))
    for number, place in enumerate(ndimage.find_objects(numbers), 1):
        mine = over[place] & (numbers[place] == number)
        if mine.sum() >= PIXELS:
            down, across = place
            yield Box(across.start, down.start, across.stop, down.stop).moved(around.left, around.top)
