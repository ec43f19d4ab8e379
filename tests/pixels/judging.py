"""What of a synthetic picture's text was found, and what was blanked in vain; for tests and benchmarks/pixels.py."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, fields

import numpy as np
from numpy.typing import NDArray

from pacsifier.pictures.boxes import Box, Region, blanked_boxes
from pacsifier.pictures.engine import Engine
from pacsifier.pictures.finding import find_text
from pacsifier.pictures.frames import Looked, find_in_frames
from tests.pixels.corpus import KINDS, Sample, Text

# A line counts as found when so much of its ink's box is covered.
FOUND = 0.8
# What is blanked within so much of a line's height of it is not in vain: a box is larger than its text.
NEAR = 0.7


@dataclass
class Count:
    """Sums over files; `touched`: files without text in which something was blanked."""

    files: int = 0
    lines: int = 0
    missed: int = 0
    harmless: int = 0
    harmless_found: int = 0
    free: int = 0
    touched: int = 0
    seen: int = 0
    pixels: int = 0
    in_vain: int = 0
    looks: int = 0
    megapixels: float = 0.0
    seconds: float = 0.0

    def add(self, other: Count) -> None:
        for each in fields(self):
            setattr(self, each.name, getattr(self, each.name) + getattr(other, each.name))


@dataclass(frozen=True)
class Judged:
    """One file's count, and its identifying lines that were not found."""

    count: Count
    missed: list[Text] = field(default_factory=list)


def look(this: Sample, engine: Engine) -> Looked:
    """Searches a sample's frames as a run would, turned too where its kind asks for it; nobody is known."""
    turned = KINDS[this.kind].turns
    return find_in_frames(
        this.pictures, lambda picture: find_text(picture, engine, turned=turned, known=lambda _: False)
    )


def judged(this: Sample, regions: Iterable[Region]) -> Judged:
    """What of a file was found."""
    regions = list(regions)
    flags = np.zeros(this.pictures.shape[1:3], np.bool_)
    for box in blanked_boxes(regions):
        _part(flags, box)[...] = True
    count = Count(
        files=1, free=not this.texts, touched=not this.texts and bool(flags.any()), pixels=flags.size
    )
    count.seen = sum(not each.blanked for each in regions)
    found = {text: float(_part(flags, text.box).mean()) >= FOUND for text in this.texts}
    missed = [text for text, is_found in found.items() if text.identifies and not is_found]
    count.lines, count.missed = sum(text.identifies for text in found), len(missed)
    count.harmless = len(found) - count.lines
    count.harmless_found = sum(is_found and not text.identifies for text, is_found in found.items())
    count.in_vain = in_vain(flags, this)
    return Judged(count, missed)


def in_vain(flags: NDArray[np.bool_], this: Sample) -> int:
    """How many of the blanked pixels (rows, columns) lie away from any line of a picture; `flags` is changed."""
    rows, columns = flags.shape
    for text in this.texts:
        near = text.box.grown(int(NEAR * min(text.box.width, text.box.height)) + 2).within(columns, rows)
        if near:
            _part(flags, near)[...] = False
    return int(flags.sum())


def _part(flags: NDArray[np.bool_], box: Box) -> NDArray[np.bool_]:
    return flags[box.top : box.bottom, box.left : box.right]
