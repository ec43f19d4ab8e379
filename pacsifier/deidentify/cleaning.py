"""What is done about text in pixels (PS3.15 section E.3.1): from what was seen to what is blanked and claimed. Pure.

Every file that is to be cleaned is looked at before the first is written: a box found in one image of a series is
blanked in all of that layout. What was seen is kept beside the key: --resume and --reviewed need no second look.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from operator import itemgetter
from typing import Any

from pacsifier.deidentify.engine.marks import PixelClaim
from pacsifier.pictures.boxes import Box, By, Region, blanked_boxes

RECORD = "pixels.jsonl"
"""Every look at a file, a line each, beside the key."""
SUSPICIOUS, ALL = "suspicious", "all"
_Layout = tuple[str, int, int]
UNREAD = "seen in the pixels, but not read and not blanked"


@dataclass(frozen=True)
class Wanted:
    """What is wanted of the pixels of one file.

    `series`: the images in which the same boxes are blanked, where the layout is the same; `doubt`: why the mark may
    not claim anything though the pixels are cleaned; `seen_by_person`: somebody has looked and found nothing left;
    `drawn`: boxes of that person.
    """

    series: str
    doubt: str
    seen_by_person: bool = False
    drawn: tuple[Box, ...] = ()


@dataclass(frozen=True)
class Look:
    """What was seen in one file: its size, its regions, how many of its frames were looked at, and by what.

    `problem`: why it could not be looked at. `drawn` are boxes that a person drew, in earlier runs, too.
    """

    file: str
    series: str
    columns: int = 0
    rows: int = 0
    frames: int = 0
    looked_at: int = 0
    engine: str = ""
    regions: tuple[Region, ...] = ()
    problem: str = ""
    drawn: tuple[Box, ...] = ()

    @property
    def layout(self) -> _Layout:
        """The images in which the same boxes are blanked."""
        return self.series, self.columns, self.rows


@dataclass(frozen=True)
class Cleaned:
    """What is to be done to one file, and what it may say afterwards; `regions` with those of its series."""

    look: Look
    regions: tuple[Region, ...]
    wanted: Wanted

    @cached_property
    def boxes(self) -> tuple[Box, ...]:
        """The boxes to blank, in every frame."""
        return blanked_boxes(self.regions)

    @cached_property
    def unread(self) -> int:
        """How many regions were seen, but neither read nor blanked."""
        return sum(
            region.by is By.SEEN and not any(box.holds(region.box) for box in self.boxes)
            for region in self.regions
        )

    @property
    def doubt(self) -> str:
        """Why the mark may not say that nobody is recognizable; "" where it may."""
        if self.wanted.seen_by_person:
            return ""
        if self.wanted.doubt:
            return self.wanted.doubt
        return f"{UNREAD}: {self.unread}" if self.unread else ""

    @property
    def claim(self) -> PixelClaim:
        """What the marks say."""
        seen = self.wanted.seen_by_person
        return PixelClaim(
            method=f"pixels cleaned: {self.look.engine}"[:64],
            cleaned=seen or not self.unread,
            no_text=seen or not (self.wanted.doubt or self.unread),
            derivation="regions of the pixel data blanked to remove text" if self.boxes else "",
        )

    @property
    def counts(self) -> Counter[By]:
        """The regions by what found them."""
        return Counter(region.by for region in self.regions)


def settle(wanted: Mapping[str, Wanted], looks: Mapping[str, Look]) -> dict[str, Cleaned]:
    """What is done to each wanted file, by its name: its own regions, and the boxes of its series.

    `looks` holds a look at each of them, and at files of earlier runs, whose series may go on.
    """
    series = SeriesBoxes(looks.values())
    for name, want in wanted.items():
        series.draw(looks[name], want.drawn)
    return {
        name: Cleaned(replace(look, drawn=series.drawn(look)), series.regions(look), want)
        for name, want in wanted.items()
        if not (look := looks[name]).problem
    }


class SeriesBoxes:
    """What is blanked in all images of a series that have one size: boxes found in any, or drawn by a person."""

    def __init__(self, looks: Iterable[Look]) -> None:
        self._found: dict[_Layout, dict[Box, By]] = defaultdict(dict)
        self._drawn: dict[_Layout, set[Box]] = defaultdict(set)
        for look in looks:
            self._found[look.layout] |= {each.box: each.by for each in look.regions if each.blanked}
            self.draw(look, look.drawn)

    def draw(self, look: Look, boxes: Iterable[Box]) -> None:
        """Adds boxes that a person drew in one of the images."""
        self._drawn[look.layout] |= {*boxes}

    def drawn(self, look: Look) -> tuple[Box, ...]:
        """The boxes of people that lie in an image."""
        every = sorted(self._drawn[look.layout])
        return tuple(box for each in every if (box := each.within(look.columns, look.rows)))

    def regions(self, look: Look) -> tuple[Region, ...]:
        """The regions of an image, with those that only others of its series have; no text of theirs."""
        mine = {region.box for region in look.regions}
        found = sorted(self._found[look.layout].items(), key=itemgetter(0))
        others = (Region(box, by) for box, by in found if box not in mine)
        return (*look.regions, *others, *(Region(box, By.PERSON) for box in self.drawn(look)))


def kept(regions: Iterable[Region], words: frozenset[str], knows: Callable[[str], bool]) -> Iterator[Region]:
    """The regions; those whose text is exactly a word that the user keeps are not blanked, unless it names somebody."""
    for region in regions:
        text = region.text.strip()
        keep = region.by is By.READER and text in words and not knows(text)
        yield replace(region, by=By.KEPT) if keep else region


# --- the record beside the key ------------------------------------------------------------------------------------


def line_of(look: Look) -> str:
    """One look as a line of the record; it holds what was read, so that it is as secret as the key."""
    regions = [
        [*_numbers(each.box), each.by.value, each.text, round(each.confidence, 3)] for each in look.regions
    ]
    values = {**vars(look), "regions": regions, "drawn": [_numbers(box) for box in look.drawn]}
    return json.dumps(values, ensure_ascii=True) + "\n"


def looks_of(lines: Iterable[str]) -> dict[str, Look]:
    """The looks of a record by the names of their files, the last of each; a line that was cut off is passed over."""
    looks: dict[str, Look] = {}
    for line in lines:
        try:
            values = json.loads(line)
            regions = tuple(_region(each) for each in values.pop("regions"))
            drawn = tuple(Box(*each) for each in values.pop("drawn"))
            look = Look(**values, regions=regions, drawn=drawn)
        except (ValueError, TypeError, KeyError, AttributeError):
            continue
        looks[look.file] = look
    return looks


def _numbers(box: Box) -> list[int]:
    return [box.left, box.top, box.right, box.bottom]


def _region(values: Sequence[Any]) -> Region:
    left, top, right, bottom, by, text, confidence = values
    return Region(Box(left, top, right, bottom), By(by), text, confidence)
