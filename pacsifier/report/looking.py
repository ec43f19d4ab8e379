"""The first look at a folder: every header once, and a picture of each series; what one process does."""

from __future__ import annotations

import contextlib
import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pacsifier.deidentify.coders import WithCoders
from pacsifier.deidentify.crew import shared
from pacsifier.deidentify.engine.profile import METHOD
from pacsifier.dicom.kinds import Examined, Kind, examine
from pacsifier.disk.files import open_new
from pacsifier.disk.names import is_by_product
from pacsifier.disk.walk import Progress, Walk
from pacsifier.errors import PacsifierError
from pacsifier.pictures import needs
from pacsifier.report.beside import NOT_TOLD, Beside
from pacsifier.report.facts import OnDisk, Picture, Pixels, SeriesKey, is_suspicious

if TYPE_CHECKING:
    from pacsifier.pictures.decoding import Frame

SMALL_PX, LARGE_PX = 224, 640
"""The longer side of a picture on the contact sheet, and of one in which a person is to find text."""
_MOST_PIXELS = 1 << 27
_LONGEST = 200  # characters of a value: LO has 64
_TAGS: Mapping[int, str] = {
    0x00080018: "SOPInstanceUID",
    0x00080020: "StudyDate",
    0x00080030: "StudyTime",
    0x00080060: "Modality",
    0x00081030: "StudyDescription",
    0x0008103E: "SeriesDescription",
    0x00100010: "PatientName",
    0x00100020: "PatientID",
    0x00120062: "PatientIdentityRemoved",
    0x00120063: "DeidentificationMethod",
    0x0020000D: "StudyInstanceUID",
    0x0020000E: "SeriesInstanceUID",
    0x00200011: "SeriesNumber",
    0x00200013: "InstanceNumber",
    0x00280008: "NumberOfFrames",
    0x00280010: "Rows",
    0x00280011: "Columns",
}
_SHOWN = (
    *("StudyDate", "StudyTime", "Modality", "StudyDescription", "SeriesDescription"),
    *("PatientName", "PatientID", "SeriesNumber"),
)
_NUMBER_OF = {keyword: tag for tag, keyword in _TAGS.items()}
_BY_US = METHOD.partition(" edition")[0]
_INSTANCES = (Kind.INSTANCE, Kind.NOT_WHOLE, Kind.BARE)
_UNREAD = (Kind.UNREADABLE, Kind.LINKED_FOLDER, Kind.FOLDER, Kind.DEAD_LINK)
_UID_CHARACTERS = frozenset("0123456789abcdefghijklmnopqrstuvwxyz_.")


@dataclass(frozen=True)
class Header:
    """What the header of one image tells, as far as it is needed; `number` sorts the images of a series."""

    name: str
    key: SeriesKey
    number: int
    frames: int
    pixels: int
    size: int
    written_s: float
    uid: str
    whole: bool
    by_us: bool
    removed: bool
    file: Examined


@dataclass(frozen=True)
class Found:
    """What one folder holds: its series, how many files that are no images, and how many that cannot be read."""

    series: tuple[OnDisk, ...] = ()
    others: int = 0
    unread: int = 0


@dataclass(frozen=True)
class Surveyed:
    """What all of a folder holds; `notes` name logs that were passed over."""

    series: tuple[OnDisk, ...]
    others: int
    notes: tuple[str, ...]
    unread: int = 0


def survey(
    folder: Path, beside: Beside, scratch: Path, progress: Progress, *, draw: bool, workers: int
) -> Surveyed:
    """Looks at every file below a folder, except in logs of ours; draws a picture of each series into `scratch`.

    Raises InputError where a run still writes into the folder, PacsifierError when a process is killed.
    """
    walk = Walk(folder.resolve())
    names = (os.path.relpath(path, walk.folder) for path in walk)
    tasks = [list(group) for _, group in groupby(names, key=os.path.dirname)]
    found: list[Found] = []
    try:
        for each in shared(lambda: Looker(walk.folder, beside, scratch, draw=draw), tasks, workers):
            found.append(each)
            progress("folders looked at", len(found), len(tasks))
    except PacsifierError as error:
        raise PacsifierError(
            "a process that draws pictures was killed (out of memory?); try --workers 1"
        ) from error
    series = tuple(series for each in found for series in each.series)
    return Surveyed(
        series, sum(each.others for each in found), walk.notes, sum(each.unread for each in found)
    )


class Looker(WithCoders):
    """Looks at the files of folders, one Looker in each process."""

    def __init__(self, folder: Path, beside: Beside, scratch: Path, *, draw: bool) -> None:
        super().__init__(scratch)
        self._folder, self._beside = folder, beside
        self._why = "" if draw else "no pictures were asked for"
        if draw and (absent := needs.missing(needs.DRAWING)):
            self._why = f"{', '.join(absent)} not installed: {needs.INSTALL}"
        self._scratch = scratch
        self._drawings = 0

    def __call__(self, names: Sequence[str]) -> Found:
        """Looks at the files of one folder."""
        groups: dict[SeriesKey, list[Header]] = defaultdict(list)
        others = unread = 0
        for name in names:
            path = self._folder / name
            file = examine(path, _TAGS)
            if file.kind in _INSTANCES and file.sop_class:
                header = header_of(name, file, file.file.size, _written_s(path))
                groups[header.key].append(header)
            elif file.kind in _UNREAD:
                unread += 1
            else:
                others += not is_by_product(path.name)
        return Found(tuple(self._series(group) for group in groups.values()), others, unread)

    def _series(self, headers: list[Header]) -> OnDisk:
        headers.sort(key=attrgetter("number", "name"))
        beside = self._beside
        unclaimed = [each for each in headers if each.by_us and not each.removed]
        pixels = Pixels()
        for each in headers if beside.looks else ():
            seen = beside.pixels_of(each.name)
            # What was seen and left is settled where the mark says YES: a person has looked.
            pixels = pixels.and_of(replace(seen, unread=0) if each.removed else seen)
        first = headers[0]
        series = OnDisk(
            key=first.key,
            values={keyword: _text(first.file, keyword)[:_LONGEST] for keyword in _SHOWN},
            folder=str(Path(first.name).parent),
            files=len(headers),
            frames=sum(each.frames for each in headers),
            bytes=sum(each.size for each in headers),
            first_s=min(each.written_s for each in headers),
            last_s=max(each.written_s for each in headers),
            broken=sum(not each.whole for each in headers),
            by_us=sum(each.by_us for each in headers),
            unclaimed=len(unclaimed),
            doubts=Counter(beside.doubts.get(each.name, NOT_TOLD) for each in unclaimed),
            pixels=pixels,
        )
        first_to_see = is_suspicious(series)
        chosen = self._chosen(headers) if first_to_see else [_middle(headers)]
        size = LARGE_PX if first_to_see else SMALL_PX
        numbers = {each.name: number for number, each in enumerate(headers, start=1)}
        pictures = tuple(
            self._picture(each, Picture(number=numbers[each.name], frame=at + 1, frames=each.frames), size)
            for each in chosen
            for at in _frames_of(each, first_to_see and len(chosen) < 3)
        )
        uids = tuple(each.uid for each in headers if each.by_us and each.uid)
        return replace(series, pictures=pictures, uids=uids)

    def _chosen(self, headers: Sequence[Header]) -> list[Header]:
        """Of a series that a person must judge: the middle, the first and the last, and where most was left unread."""
        doubted = sorted(headers, key=lambda each: -self._beside.pixels_of(each.name).unread)
        doubted = [each for each in doubted[:1] if self._beside.pixels_of(each.name).unread]
        chosen = [*doubted, _middle(headers), headers[0], headers[-1]]
        return sorted({each.name: each for each in chosen}.values(), key=headers.index)

    # --- pictures -------------------------------------------------------------------------------------------------

    def _picture(self, header: Header, made: Picture, size: int) -> Picture:
        if self._why:
            return replace(made, why=self._why)
        if not header.pixels:
            return replace(made, why="no picture in it")
        if header.pixels > _MOST_PIXELS:
            return replace(made, why="too large to be drawn")
        try:
            boxes, left = self._beside.boxes_of(header.name), self._beside.left_in(header.name)
            return replace(self._drawn(header, made, size), boxes=boxes, left=left)
        except MemoryError:
            return replace(made, why="too large to be drawn")
        except Exception as error:  # whatever a decoder says of a strange file: the tile says why it is grey
            return replace(made, why=_why(error))

    def _drawn(self, header: Header, made: Picture, size: int) -> Picture:
        from pacsifier.pictures.decoding import count, frames_of, shown
        from pacsifier.pictures.thumbnail import jpeg, middle, squared

        path, frames, at = self._folder / header.name, header.frames, made.frame - 1
        frame = next(frames_of(path, self.coders, {at}), None)
        if frame is None:
            # Fewer are stored than the header says.
            frames = count(path)
            at = middle(frames)
            frame = next(frames_of(path, self.coders, {at}))
        rows, columns = frame.values.shape[:2]
        data = jpeg(squared(shown(frame), _aspect(frame)), size)
        self._drawings += 1
        file = self._scratch / f"{os.getpid()}-{self._drawings}.jpg"
        with os.fdopen(open_new(file), "wb") as out:
            out.write(data)
        return replace(
            made, frame=at + 1, frames=frames, columns=columns, rows=rows, file=str(file), size=len(data)
        )


def header_of(name: str, file: Examined, size: int, written_s: float) -> Header:
    """What is needed of a header. Pure."""
    rows, columns = (_binary(file, keyword) for keyword in ("Rows", "Columns"))
    uid = _text(file, "SOPInstanceUID")
    study, series = _text(file, "StudyInstanceUID"), _text(file, "SeriesInstanceUID")
    return Header(
        name=name,
        key=(study, series or f"in {Path(name).parent}"),
        number=_integer(_text(file, "InstanceNumber"), 0),
        frames=max(_integer(_text(file, "NumberOfFrames"), 1), 1),
        pixels=rows * columns,
        size=size,
        written_s=written_s,
        uid=uid if set(uid) <= _UID_CHARACTERS else "",
        whole=file.kind is Kind.INSTANCE,
        by_us=_BY_US in _text(file, "DeidentificationMethod"),
        removed=_text(file, "PatientIdentityRemoved").upper() == "YES",
        file=file,
    )


def _frames_of(header: Header, several: bool) -> Sequence[int]:
    """The numbers of the frames that are drawn, from 0: the middle one, or the first, middle and last."""
    last = header.frames - 1
    return sorted({0, last // 2, last}) if several else [last // 2]


def _written_s(path: Path) -> float:
    """When a file was written; 0 where it has gone meanwhile."""
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def _middle(headers: Sequence[Header]) -> Header:
    """The middle one of those that hold a picture, where any does."""
    drawable = [each for each in headers if each.pixels] or headers
    return drawable[max(len(drawable) - 1, 0) // 2]


def _text(file: Examined, keyword: str) -> str:
    return (file.file.text(_NUMBER_OF[keyword]) or "").strip("\0 ")


def _binary(file: Examined, keyword: str) -> int:
    return int.from_bytes(file.file.values.get(_NUMBER_OF[keyword], b"")[:2], "little")


def _integer(text: str, default: int) -> int:
    try:
        return int(text) if len(text) < 13 else default
    except ValueError:
        return default


def _why(error: Exception) -> str:
    """Why there is no picture; never a value of the file."""
    from pacsifier.pictures.stored import PixelsError

    if isinstance(error, PixelsError):
        return error.reason
    if isinstance(error, OSError):
        return f"cannot be read: {error.strerror}"
    return f"cannot be drawn ({type(error).__name__})"


def _aspect(frame: Frame) -> float:
    """How many times as high as wide a pixel is (PS3.3 sections C.7.6.3.1.7 and 10.7.1.3); 1 where it is not told."""
    for keyword in ("PixelAspectRatio", "PixelSpacing", "ImagerPixelSpacing"):
        with contextlib.suppress(Exception):
            down, across = (float(each) for each in _values(frame.header.get(keyword)))
            if down > 0 and across > 0:
                return down / across
    return 1.0


def _values(value: Any) -> Iterable[Any]:
    return value if value is not None else ()
