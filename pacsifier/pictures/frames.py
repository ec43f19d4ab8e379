"""Which pictures of a cine are looked at: of every few frames the maximum and the minimum, not each frame.

Text that stays, changes or stands in one frame only is in one of the two; noise is less than in a frame. The boxes
of all groups are blanked in all frames. Where something was seen there and could not be read, the group's frames are
looked at one by one. Frames are asked for as they are needed: a group is held at a time, never the cine.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice

import numpy as np

from pacsifier.pictures.boxes import By, Region
from pacsifier.pictures.engine import Picture
from pacsifier.pictures.finding import merged

GROUP = 10
Find = Callable[[Picture], tuple[Region, ...]]


@dataclass(frozen=True)
class Looked:
    """What was found in an object's frames; `regions` hold for all of them.

    `frames`: how many it has; `looked_at`: how many were looked at, alone or as one of a group; `looks`: pictures
    that were searched.
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
    if not any(region.by is By.SEEN for region in merged(found)):
        return found, 2
    return [*found, *chain.from_iterable(map(find, frames))], 2 + len(frames)


def _groups(frames: Iterable[Picture], size: int) -> Iterator[list[Picture]]:
    left = iter(frames)
    while several := list(islice(left, size)):
        yield several
