"""Which pictures of a cine are looked at: of every few frames the maximum and the minimum, not each frame.

Text that stays, changes or stands in one frame only is in one of the two; noise is less than in a frame. The boxes
of all groups are blanked in all frames. Where something was seen there and could not be read (letters of several
frames on one another), this part of the group's frames is looked at one by one. Frames are asked for as they are
needed: a group is held at a time, never the cine.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain, islice

import numpy as np

from pacsifier.pictures.boxes import Box, By, Region
from pacsifier.pictures.engine import Picture
from pacsifier.pictures.finding import READABLE, merged

GROUP = 10
# What is looked at around a region that could not be read, in pixels on each side.
AROUND = 48
Find = Callable[[Picture], tuple[Region, ...]]


@dataclass(frozen=True)
class Looked:
    """What was found in an object's frames; `regions` hold for all of them.

    `frames`: how many it has; `looked_at`: how many were looked at, alone or as one of a group; `looks`: pictures,
    or parts of them, that were searched.
    """

    regions: tuple[Region, ...]
    frames: int
    looked_at: int
    looks: int


def find_in_frames(frames: Iterable[Picture], find: Find, group: int = GROUP) -> Looked:
    """Searches an object's frames in groups; one frame alone is searched as it is.

    `frames`: pictures of one shape, 8 bits; `find`: `finding.find_text` with its engine.
    """
    regions: list[Region] = []
    count = looks = 0
    for several in _groups(frames, group):
        found, searched = _of_group(several, find)
        regions = list(merged([*regions, *found]))
        count += len(several)
        looks += searched
        # Or they would be held while the next ones are decoded.
        several.clear()
    return Looked(tuple(regions), count, count, looks)


def projections(frames: Sequence[Picture]) -> tuple[Picture, Picture]:
    """The maximum and the minimum of frames of one shape, by channel."""
    most, least = frames[0].copy(), frames[0].copy()
    for frame in frames[1:]:
        np.maximum(most, frame, out=most)
        np.minimum(least, frame, out=least)
    return most, least


def _of_group(frames: Sequence[Picture], find: Find) -> tuple[list[Region], int]:
    """What one group holds, and how many pictures that took."""
    if len(frames) == 1:
        return list(find(frames[0])), 1
    found = list(chain.from_iterable(find(each) for each in projections(frames)))
    looks = 2
    for box in _unread(found, *frames[0].shape[:2]):
        for frame in frames:
            part = find(np.ascontiguousarray(frame[box.top : box.bottom, box.left : box.right]))
            found += [replace(each, box=each.box.moved(box.left, box.top)) for each in part]
            looks += 1
    return found, looks


def _unread(found: Iterable[Region], rows: int, columns: int) -> list[Box]:
    """Around what was seen and not read; what was read and is no text (one letter, a ruler) is read enough."""
    boxes = []
    for region in merged(found):
        if region.by is By.SEEN and not (region.text and region.confidence >= READABLE):
            boxes += [box for box in [region.box.grown(AROUND).within(columns, rows)] if box]
    return boxes


def _groups(frames: Iterable[Picture], size: int) -> Iterator[list[Picture]]:
    left = iter(frames)
    while several := list(islice(left, size)):
        yield several
