"""Cines: what is looked at instead of each frame, and how many frames are held meanwhile."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from weakref import ref

import numpy as np
import pytest

from pacsifier.pictures.boxes import Box, By, Region
from pacsifier.pictures.frames import GROUP, find_in_frames, projections

Picture = np.ndarray


@dataclass
class Finder:
    """Says that each pixel over 200 is a word, and each under 50 something seen; keeps what it was shown."""

    shown: list[Picture] = field(default_factory=list)

    def __call__(self, picture: Picture) -> tuple[Region, ...]:
        self.shown.append(picture)
        found = []
        for by, flags in ((By.READER, picture > 200), (By.SEEN, picture < 50)):
            for row, column in zip(*np.nonzero(flags), strict=True):
                found.append(Region(Box(int(column), int(row), int(column) + 1, int(row) + 1), by))
        return tuple(found)


def frame(*points: tuple[int, int, int]) -> Picture:
    picture = np.full((8, 9), 100, np.uint8)
    for row, column, value in points:
        picture[row, column] = value
    return picture


def test_the_brightest_and_the_darkest_of_each_pixel_and_channel_are_kept() -> None:
    frames = np.random.default_rng(0).integers(0, 256, (7, 5, 6, 3), dtype=np.uint8)
    before = frames.copy()
    most, least = projections(list(frames))
    np.testing.assert_array_equal(most, frames.max(axis=0))
    np.testing.assert_array_equal(least, frames.min(axis=0))
    np.testing.assert_array_equal(frames, before)


@pytest.mark.parametrize("count", [1, 2, 9, 10, 11, 25])
@pytest.mark.parametrize("at", [0, -1])
def test_a_word_in_one_frame_is_blanked_for_all(count: int, at: int) -> None:
    frames = [frame() for _ in range(count)]
    frames[at] = frame((2, 3, 255))
    find = Finder()
    looked = find_in_frames(frames, find)
    assert [(each.box, each.by) for each in looked.regions] == [(Box(3, 2, 4, 3), By.READER)]
    assert (looked.frames, looked.looked_at) == (count, count)
    full, rest = divmod(count, GROUP)
    assert looked.looks == len(find.shown) == 2 * full + min(rest, 2)


def test_words_of_all_groups_are_blanked() -> None:
    frames = [frame((each // GROUP, each % GROUP % 9, 255)) for each in range(25)]
    found = {each.box for each in find_in_frames(frames, Finder()).regions}
    assert {(each.top, each.left) for each in found} == {
        (each // GROUP, each % GROUP % 9) for each in range(25)
    }


def test_a_part_that_was_seen_and_not_read_is_looked_at_frame_by_frame() -> None:
    frames = [np.full((200, 300), 100, np.uint8) for _ in range(30)]
    frames[14][150, 80] = 0
    find = Finder()
    looked = find_in_frames(frames, find)
    assert looked.looks == len(find.shown) == 2 + (2 + GROUP) + 2
    assert [(each.by, each.box) for each in looked.regions] == [(By.SEEN, Box(80, 150, 81, 151))]
    assert {each.shape for each in find.shown} == {(200, 300), (97, 97)}


def test_letters_of_two_frames_on_one_another_are_read_in_each() -> None:
    frames = [np.full((60, 90), 100, np.uint8) for _ in range(4)]
    frames[1][30, 40], frames[2][30, 41] = 210, 220

    def find(picture: Picture) -> tuple[Region, ...]:
        """Reads one bright pixel, and sees two."""
        by = By.READER if (picture > 200).sum() == 1 else By.SEEN
        return tuple(
            Region(Box(int(column), int(row), int(column) + 1, int(row) + 1), by)
            for row, column in zip(*np.nonzero(picture > 200), strict=True)
        )

    found = find_in_frames(frames, find).regions
    assert {(each.box.left, each.by) for each in found} == {(40, By.READER), (41, By.READER)}


def test_one_letter_that_was_read_is_not_looked_for_in_each_frame() -> None:
    marker = (Region(Box(1, 1, 4, 4), By.SEEN, "R", 0.9),)
    assert find_in_frames([frame()] * 10, lambda _: marker).looks == 2


def test_no_frames_are_nothing_found() -> None:
    looked = find_in_frames([], Finder())
    assert (looked.regions, looked.frames, looked.looks) == ((), 0, 0)


def test_a_long_cine_is_never_held_as_a_whole() -> None:
    class Frame(np.ndarray):
        """So that a weak reference can be kept."""

    made: list[ref[Frame]] = []
    most = 0

    def frames() -> Iterator[Picture]:
        nonlocal most
        for _ in range(600):
            one = np.full((4, 4), 100, np.uint8).view(Frame)
            made.append(ref(one))
            most = max(most, sum(each() is not None for each in made[-3 * GROUP :]))
            yield one
            del one

    assert find_in_frames(frames(), lambda _: ()).frames == 600
    assert most <= GROUP + 1
