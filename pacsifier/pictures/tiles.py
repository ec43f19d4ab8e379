"""Which parts of a picture are looked at: those with strokes in them, none larger than the detector sees at once.

A region without strokes is dropped by `cutting` anyhow, so that what is smooth need not be searched. Pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil

import numpy as np
from scipy import ndimage

from pacsifier.pictures.boxes import Box
from pacsifier.pictures.cutting import LEVELS, Strokes

# Blocks of so many pixels are taken or left as a whole; two letters of 8 pixels have some forty that stand out.
BLOCK = 32
FEWEST = 4
# What looking at a part costs beyond its pixels, on each side.
EDGE = 32


def parts(strokes: Strokes, longest: int, overlap: int) -> list[Box]:
    """Boxes of a picture that hold all its strokes, no side longer, neighbours overlapping by at least so much."""
    rows, columns = strokes.shape
    whole = [Box(0, 0, columns, rows)]
    found = _joined(_busy(strokes))
    if sum(map(_cost, found)) > 0.9 * sum(map(_cost, whole)):
        found = whole
    return [
        tile
        for box in found
        for tile in _tiles(box, longest, overlap)
        if _standing_out(strokes, tile) >= FEWEST
    ]


def _busy(strokes: Strokes) -> list[Box]:
    """Boxes around blocks in which something stands out, and their neighbours."""
    rows, columns = strokes.shape
    down, across = ceil(rows / BLOCK), ceil(columns / BLOCK)
    flags = np.zeros((down * BLOCK, across * BLOCK), np.bool_)
    np.greater_equal(strokes, LEVELS, out=flags[:rows, :columns])
    counts = flags.reshape(down, BLOCK, across, BLOCK).sum(axis=(1, 3), dtype=np.int32)
    wide = ndimage.binary_dilation(counts >= FEWEST, np.ones((3, 3)))
    boxes = []
    for tall, broad in ndimage.find_objects(ndimage.label(wide)[0]):
        box = Box(broad.start * BLOCK, tall.start * BLOCK, broad.stop * BLOCK, tall.stop * BLOCK)
        boxes += [inside for inside in [box.within(columns, rows)] if inside]
    return boxes


def _joined(boxes: Sequence[Box]) -> list[Box]:
    """The same, those joined that are cheaper to look at together."""
    left, done = list(boxes), []
    while left:
        one = left.pop()
        for other in left:
            both = _around(one, other)
            if _cost(both) <= _cost(one) + _cost(other):
                left.remove(other)
                left.append(both)
                break
        else:
            done.append(one)
    return sorted(done)


def _tiles(box: Box, longest: int, overlap: int) -> list[Box]:
    down = _spans(box.top, box.bottom, longest, overlap)
    across = _spans(box.left, box.right, longest, overlap)
    return [Box(left, top, right, bottom) for top, bottom in down for left, right in across]


def _spans(first: int, end: int, longest: int, overlap: int) -> list[tuple[int, int]]:
    length = end - first
    if length <= longest:
        return [(first, end)]
    count = ceil((length - overlap) / (longest - overlap))
    size = ceil((length + overlap * (count - 1)) / count)
    starts = [first + round(each * (length - size) / (count - 1)) for each in range(count)]
    return [(start, start + size) for start in starts]


def _standing_out(strokes: Strokes, box: Box) -> int:
    return int((strokes[box.top : box.bottom, box.left : box.right] >= LEVELS).sum())


def _around(one: Box, other: Box) -> Box:
    return Box(
        min(one.left, other.left),
        min(one.top, other.top),
        max(one.right, other.right),
        max(one.bottom, other.bottom),
    )


def _cost(box: Box) -> int:
    return (box.width + 2 * EDGE) * (box.height + 2 * EDGE)
