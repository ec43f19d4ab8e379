"""One file's pixels searched for text: by the device's layout, the regions of its header, and the engine.

Everything that can go wrong with a picture is an UnreadableError here, for a file that nobody could look at stays out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from io import FileIO
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue

from pacsifier.dicom import part10
from pacsifier.dicom.splice import UnreadableError
from pacsifier.pictures import layouts
from pacsifier.pictures.boxes import Box, Region
from pacsifier.pictures.coders import Coders
from pacsifier.pictures.decoding import Frame, frames_of, pictures
from pacsifier.pictures.engine import Engine, Picture
from pacsifier.pictures.finding import find_text, merged
from pacsifier.pictures.frames import Looked, find_in_frames
from pacsifier.pictures.stored import Meaning, PixelsError

CANNOT_LOOK = "pixels that cannot be searched for text"
_PIXELS = frozenset((part10.PIXEL_DATA, 0x7FE00008, 0x7FE00009))
_RIM_PX = 2
# Where text may stand on its side.
_TURNED = frozenset(("CR", "DX", "XA", "MG", "CT", "MR"))


@dataclass(frozen=True)
class Searched:
    """What one file shows; the regions hold for all of its frames."""

    columns: int
    rows: int
    frames: int
    looked_at: int
    regions: tuple[Region, ...]


def search(path: Path, engine: Engine, knows: Callable[[str], bool], coders: Coders) -> Searched:
    """Searches every frame of a file; `knows`: whether a text that was read names somebody.

    Raises UnreadableError where its pixels cannot be decoded, and OSError.
    """
    try:
        first = next(frames_of(path, coders, (0,)), None)
        if first is None:
            raise UnreadableError(CANNOT_LOOK, "it has no frames")
        find = partial(find_text, engine=engine, turned=_may_be_turned(first), known=knows)
        # One frame is decoded already.
        made = pictures(first)
        alone = first.meaning.frames == 1
        looked = [
            find_in_frames([made[number]] if alone else _ranged(path, coders, number), find)
            for number in range(len(made))
        ]
    except PixelsError as error:
        raise UnreadableError(CANNOT_LOOK, error.reason) from error
    meaning = first.meaning
    return _all_of(looked, meaning, [*by_rule(first)])


def read_at(path: Path, boxes: Sequence[Box], engine: Engine, coders: Coders) -> tuple[str, ...]:
    """What is read in and around these places, upright and on its side, in any frame of a file.

    Raises UnreadableError where its pixels cannot be decoded, and OSError.
    """
    texts: list[str] = []

    def find(picture: Picture) -> tuple[Region, ...]:
        for piece in _around(picture, boxes):
            upright = (
                [piece] if piece.shape[1] > piece.shape[0] else [piece, np.rot90(piece), np.rot90(piece, 3)]
            )
            texts.extend(engine.read(np.ascontiguousarray(each)).text for each in upright)
        return ()

    try:
        find_in_frames(_ranged(path, coders, 0), find)
    except PixelsError as error:
        raise UnreadableError(CANNOT_LOOK, error.reason) from error
    return tuple(texts)


def _around(picture: Picture, boxes: Sequence[Box]) -> Iterator[Picture]:
    """Each place with half its height beside it, which holds whole letters of what was not blanked."""
    rows, columns = picture.shape[:2]
    for box in boxes:
        margin = max(min(box.width, box.height) // 2, _RIM_PX)
        if place := box.grown(margin).within(columns, rows):
            yield picture[place.top : place.bottom, place.left : place.right]


def has_pixels(path: Path) -> bool:
    """Whether a file has pixel data, of whole numbers or of floating point ones."""
    with FileIO(path) as file:
        return not _PIXELS.isdisjoint(part10.layout(file).by_tag)


def _ranged(path: Path, coders: Coders, number: int) -> Iterator[Picture]:
    """The picture of each frame in one of its ranges; the first where it has no more."""
    for frame in frames_of(path, coders):
        made = pictures(frame)
        yield made[min(number, len(made) - 1)]


def _may_be_turned(frame: Frame) -> bool:
    return str(frame.header.get("Modality", "")) in _TURNED


def by_rule(frame: Frame) -> Iterator[Region]:
    """What the header says is no image: by the table of devices, and outside the regions of ultrasound."""
    header, meaning = frame.header, frame.meaning
    yield from layouts.boxes(
        layouts.Header(
            meaning.rows,
            meaning.columns,
            modality=_text(header, "Modality"),
            manufacturer=_text(header, "Manufacturer"),
            model=_text(header, "ManufacturerModelName"),
            image_type=_text(header, "ImageType"),
            series_description=_text(header, "SeriesDescription"),
            burned_in=_text(header, "BurnedInAnnotation"),
        )
    )
    regions = (_inside(item) for item in header.get("SequenceOfUltrasoundRegions") or ())
    yield from layouts.outside_regions([box for box in regions if box], meaning.rows, meaning.columns)


def _text(header: Dataset, name: str) -> str:
    value = header.get(name, "")
    return "\\".join(map(str, value)) if isinstance(value, MultiValue) else str(value or "")


def _inside(item: Dataset) -> Box | None:
    """The pixels of one region (PS3.3 C.8.5.5), where the last ones are inside; None where it says nothing of sense."""
    names = ("MinX0", "MinY0", "MaxX1", "MaxY1")
    try:
        left, top, right, bottom = (int(item[f"RegionLocation{name}"].value) for name in names)
    except (KeyError, TypeError, ValueError):
        return None
    return Box(left, top, right + 1, bottom + 1) if right >= left and bottom >= top else None


def _all_of(looked: list[Looked], meaning: Meaning, ruled: list[Region]) -> Searched:
    found = (_with_rim(region, meaning) for each in looked for region in each.regions)
    regions = merged([*ruled, *found])
    frames = looked[0].frames
    return Searched(meaning.columns, meaning.rows, frames, looked[0].looked_at, regions)


def _with_rim(region: Region, meaning: Meaning) -> Region:
    """The same with the edges of its letters, which may reach a little beyond what was found."""
    box = region.box.grown(_RIM_PX).within(meaning.columns, meaning.rows)
    return replace(region, box=box) if region.blanked and box else region
