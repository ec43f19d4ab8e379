"""Text in a picture: where it is, what it says, and whether it is to be blanked.

The detector looks at the picture as it is and larger (small letters), on request turned by 90 degrees; each
region that it names is read. Blanked is what can be read, what a known identifier stands in, and what has the shape
of a line where the detector is sure (scripts that the reader does not know). The rest is returned as seen.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from math import ceil, floor
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pacsifier.pictures.bars import over_bars
from pacsifier.pictures.boxes import Box, By, Region
from pacsifier.pictures.cutting import LEVELS, Blob, Strokes, blobs, strokes
from pacsifier.pictures.engine import Picture, Reading
from pacsifier.pictures.readingon import Line, read_on
from pacsifier.pictures.tiles import parts

Known = Callable[[str], bool]
_Kind = TypeVar("_Kind", bound=np.generic)

# Grey around the picture, so that text at its border is found; the detector wants sides of whole multiples, which those
# of most pictures are: a pixel more costs a twentieth of the time.
FRAME = 32
MULTIPLE = 32
# Small letters are found when larger: in small pictures (pixels) twice, else by half, which finds as many of 8 pixels
# and more, in half the time (measured).
SMALL, TWICE, LARGER = 400_000, 2.0, 1.5
# Letters of more than 80 pixels are found when half as large: in large pictures (pixels).
LARGE = 1_000_000
# The longest side that the detector sees at once, for which it takes some 600 MB; longer ones are looked at in tiles
# that overlap by so much, in its pixels.
LONGEST = 1536
OVERLAP = 256
# A region in which less than a tenth stands out (LEVELS) is no text but a smooth picture.
STANDING_OUT = 0.1
# What a box grows by on each side, of its short side: the detector is trained to name the core of a line.
GROWN = 0.6
READABLE = 0.5
CHARACTERS = 2
# Smaller than letters of 6 pixels are with what their box grows by: speckle, where fewer than LONG characters are read.
SMALLEST = 8
# One character so many times is no line of another script either.
LONG = 4
SHORT = 50
TALL = 1.5
# What is covered so far by boxes that were blanked is not read again.
COVERED = 0.9


@dataclass(frozen=True)
class Shape:
    """What has the shape of a line: how sure the detector is, and by how much it is longer than wide, at least.

    `unread`: and no letter or digit of Latin was read in it, with whatever confidence; what is none is read as T, I, 1.
    """

    likely: float
    longer: float
    unread: bool = False

    def fits(self, box: Box, likely: float, text: str) -> bool:
        """Whether a region is taken for a line."""
        short, long = sorted((box.width, box.height))
        latin = self.unread and any(each.isascii() and each.isalnum() for each in text)
        return likely >= self.likely and short <= SHORT and long >= self.longer * short and not latin


# Lines of scripts that the reader does not know: as the picture is, and in the looks that see more that is none.
AS_IT_IS = Shape(0.95, 2.0)
OTHERWISE = Shape(0.96, 2.5, unread=True)


class Reader(Protocol):
    """What is asked of an engine."""

    def detect(self, picture: Picture) -> NDArray[np.float32]:
        """As `Engine.detect`."""

    def read(self, piece: Picture) -> Reading:
        """As `Engine.read`."""


def find_text(picture: Picture, engine: Reader, *, turned: bool, known: Known) -> tuple[Region, ...]:
    """Every region of a picture that may be text; those that are not By.SEEN are to be blanked.

    `picture`: (rows, columns) grey or (rows, columns, 3) RGB, 8 bits. `turned`: look at it turned by 90 degrees, too.
    `known`: whether a text that was read holds a known identifier. Boxes are in the picture's pixels, and already
    larger than what was found.
    """
    look = _Look(
        picture, strokes(picture), _median(picture), np.zeros(picture.shape[:2], np.bool_), engine, known
    )
    rows, columns = picture.shape[:2]
    found = [*look.regions(1, AS_IT_IS), *look.regions(TWICE if rows * columns <= SMALL else LARGER)]
    if turned:
        found += [replace(each, box=_back(each.box, columns)) for each in look.turned().regions(1)]
    if rows * columns > LARGE:
        found += [replace(each, box=_doubled(each.box, rows, columns)) for each in look.halved().regions(1)]
    return merged([*found, *look.over_bars()])


def merged(regions: Iterable[Region]) -> tuple[Region, ...]:
    """The same without those that lie in another one: blanked ones first, then the surest."""
    kept: list[Region] = []
    for region in sorted(regions, key=lambda each: (not each.blanked, -_area(each.box), each.box)):
        within = 1.0 if region.blanked else 0.5
        if not any(_shared(region.box, other.box) >= within * _area(region.box) for other in kept):
            kept.append(region)
    return tuple(kept)


@dataclass(frozen=True)
class _Look:
    """A picture being looked at; `grey`: what it is framed in; `blanked`: what boxes cover so far, which grows."""

    picture: Picture
    strokes: Strokes
    grey: NDArray[np.uint8]
    blanked: NDArray[np.bool_]
    engine: Reader
    known: Known
    upside_down: bool = False

    def turned(self) -> _Look:
        """The same turned to the left; lines may then be upside down."""
        return replace(
            self,
            picture=np.rot90(self.picture),
            strokes=np.rot90(self.strokes),
            blanked=np.rot90(self.blanked),
            upside_down=True,
        )

    def halved(self) -> _Look:
        """The same half as large: strokes of large letters are thin enough then to stand out."""
        picture = np.asarray(Image.fromarray(self.picture).reduce(2))
        blanked = np.ascontiguousarray(self.blanked[::2, ::2])
        return replace(self, picture=picture, strokes=strokes(picture), blanked=blanked)

    def regions(self, scale: float, shape: Shape = OTHERWISE) -> Iterator[Region]:
        """What is found at a scale; `shape`: what is blanked without being read."""
        rows, columns = self.picture.shape[:2]
        for part in parts(self.strokes, int(LONGEST / scale), int(OVERLAP / scale)):
            for blob in blobs(self.engine.detect(_framed(_part(self.picture, part), scale, self.grey))):
                core = _placed(blob, part, scale)
                box = _grown(core).within(columns, rows)
                if box and self._stands_out(core) and _part(self.blanked, box).mean() < COVERED:
                    yield self._judged(box, blob.likely, shape)

    def over_bars(self) -> Iterator[Region]:
        """What stands over a bar code and was not found yet."""
        for box in over_bars(self.picture):
            if _part(self.blanked, box).mean() < COVERED:
                yield Region(box, By.SHAPE)

    def _stands_out(self, box: Box) -> bool:
        part = _part(self.strokes, box)
        return bool(part.size) and float((part >= LEVELS).mean()) >= STANDING_OUT

    def _judged(self, box: Box, likely: float, shape: Shape) -> Region:
        lines = list(self._lines(box))
        best = max(lines, key=lambda each: (_readable(each.reading), each.reading.confidence))
        sure = next((each for each in lines if each.reading.text and self.known(each.reading.text)), None)
        large = min(box.width, box.height) >= SMALLEST
        enough = CHARACTERS if large else LONG
        reading = best.reading
        if sure or (_readable(reading, enough) and not _is_pattern(reading.text, CHARACTERS)):
            line = read_on(sure or best, self.picture, self.strokes, self.engine.read)
            # Read with more of it, a name may have become another one.
            read = sure.reading if sure and not self.known(line.reading.text) else line.reading
            region = Region(line.box, By.READER, read.text, read.confidence)
        else:
            is_line = large and shape.fits(box, likely, reading.text)
            by = By.SHAPE if is_line and not _is_pattern(reading.text, LONG) else By.SEEN
            region = Region(box, by, reading.text, reading.confidence if reading.text else likely)
        if region.blanked:
            _part(self.blanked, region.box)[...] = True
        return region

    def _lines(self, box: Box) -> Iterator[Line]:
        turns = [0, *([2] if self.upside_down else [])]
        if box.height > TALL * box.width:
            turns = [0, 1, 3]
        piece = _part(self.picture, box)
        for turn in turns:
            yield Line(box, turn, self.engine.read(np.ascontiguousarray(np.rot90(piece, turn))))


def _median(picture: Picture) -> NDArray[np.uint8]:
    """The median of each channel; by counting, for sorting a large picture takes as long as searching it."""
    counts = np.reshape(Image.fromarray(picture).histogram(), (-1, 256)).cumsum(axis=1)
    return np.array([np.searchsorted(each, (each[-1] + 1) // 2) for each in counts], np.uint8)


def _framed(picture: Picture, scale: float, grey: NDArray[np.uint8]) -> Picture:
    """The picture so many times as large, in a frame of grey, its sides whole multiples."""
    rows, columns = (round(side * scale) for side in picture.shape[:2])
    if scale != 1:
        image = Image.fromarray(np.ascontiguousarray(picture))
        picture = np.asarray(image.resize((columns, rows), Image.Resampling.BILINEAR))
    sides = [-(-(side + 2 * FRAME) // MULTIPLE) * MULTIPLE for side in (rows, columns)]
    framed = np.empty((*sides, *picture.shape[2:]), np.uint8)
    framed[...] = grey
    framed[FRAME : FRAME + rows, FRAME : FRAME + columns] = picture
    return framed


def _placed(blob: Blob, part: Box, scale: float) -> Box:
    """A region of the detector's grid in the pixels of the whole picture."""
    return Box(
        floor((blob.left - FRAME) / scale) + part.left,
        floor((blob.top - FRAME) / scale) + part.top,
        ceil((blob.right - FRAME) / scale) + part.left,
        ceil((blob.bottom - FRAME) / scale) + part.top,
    )


def _grown(core: Box) -> Box:
    return core.grown(ceil(GROWN * min(core.width, core.height)))


def _part(grid: NDArray[_Kind], box: Box) -> NDArray[_Kind]:
    return grid[max(box.top, 0) : max(box.bottom, 0), max(box.left, 0) : max(box.right, 0)]


def _readable(reading: Reading, characters: int = CHARACTERS) -> bool:
    return reading.confidence >= READABLE and sum(each.isalnum() for each in reading.text) >= characters


def _is_pattern(text: str, least: int) -> bool:
    """Whether it is one character again and again, or only dots: ticks of a ruler, threads of a screw, teeth."""
    characters = [each for each in text if each.isalnum()] or ["."] * len(text)
    return len(characters) >= least and len(set(characters)) == 1


def _back(box: Box, columns: int) -> Box:
    """A box of the picture turned to the left, in the picture itself."""
    return Box(columns - box.bottom, box.left, columns - box.top, box.right)


def _doubled(box: Box, rows: int, columns: int) -> Box:
    """A box of the picture half as large, in the picture itself, which may have an odd side."""
    return Box(2 * box.left, 2 * box.top, min(2 * box.right, columns), min(2 * box.bottom, rows))


def _area(box: Box) -> int:
    return box.width * box.height


def _shared(one: Box, other: Box) -> int:
    width = min(one.right, other.right) - max(one.left, other.left)
    height = min(one.bottom, other.bottom) - max(one.top, other.top)
    return max(width, 0) * max(height, 0)
