"""One file's pixels searched for text: by the device's layout, the regions of its header, and the engine.

Everything that can go wrong with a picture is an UnreadableError here, for a file that nobody could look at stays out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from io import FileIO
from pathlib import Path

from pacsifier.dicom import part10
from pacsifier.dicom.splice import UnreadableError
from pacsifier.pictures import layouts
from pacsifier.pictures.boxes import Region
from pacsifier.pictures.coders import Coders
from pacsifier.pictures.decoding import Frame, frames_of, pictures
from pacsifier.pictures.engine import Engine, Picture
from pacsifier.pictures.finding import find_text, merged
from pacsifier.pictures.frames import Looked, find_in_frames
from pacsifier.pictures.stored import Meaning, NotReadable

CANNOT_LOOK = "pixels that cannot be searched for text"
_PIXELS = frozenset((part10.PIXEL_DATA, 0x7FE00008, 0x7FE00009))
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
        looked = [
            find_in_frames(_ranged(path, coders, number), find) for number in range(len(pictures(first)))
        ]
    except NotReadable as error:
        raise UnreadableError(CANNOT_LOOK, error.reason) from error
    meaning = first.meaning
    by_rule = layouts.regions_of(first.header, meaning.rows, meaning.columns)
    return _all_of(looked, meaning, by_rule)


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


def _all_of(looked: list[Looked], meaning: Meaning, by_rule: tuple[Region, ...]) -> Searched:
    regions = merged([*by_rule, *(region for each in looked for region in each.regions)])
    frames = looked[0].frames
    return Searched(meaning.columns, meaning.rows, frames, looked[0].looked_at, regions)
