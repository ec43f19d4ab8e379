"""Encapsulated pixel data: its fragments, the frames they make, and the offset tables, written again where bytes went.

Source: DICOM PS3.5 section A.4, PS3.3 sections C.7.6.3.1.8 and C.7.6.3.1.9.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from pacsifier.dicom import part10
from pacsifier.dicom.codestream import Edit, StreamError
from pacsifier.dicom.part10 import PIXEL_DATA, Layout
from pacsifier.dicom.splice import Piece, Range

_ITEM, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE0DD
_OFFSETS, _LENGTHS = 0x7FE00001, 0x7FE00002  # the Extended Offset Table
_HEAD = 8  # bytes of the header of an item

Span = tuple[int, int]
"""Where bytes begin and end in the source."""


@dataclass(frozen=True)
class Frame:
    """The fragments of one frame, in order."""

    fragments: tuple[Span, ...]

    @property
    def begin(self) -> int:
        """Where the header of the first item stands."""
        return self.fragments[0][0] - _HEAD

    @property
    def stop(self) -> int:
        """The byte behind the last fragment."""
        return self.fragments[-1][1]

    @property
    def last(self) -> int:
        """Where the last fragment begins in the bytes of the frame."""
        return sum(stop - start for start, stop in self.fragments[:-1])

    def bytes_of(self, source: part10.Buffer) -> bytes:
        """All of the frame, as a decoder gets it."""
        return b"".join(source[start:stop] for start, stop in self.fragments)


Replaced = dict[Span, list[Piece]]
"""What stands in the place of bytes of the source."""


def frames(
    layout: Layout, begins: Callable[[bytes], bool] | None, number: int | None
) -> tuple[Span, list[Frame]]:
    """The Basic Offset Table, and the frames of the pixel data; raises StreamError.

    `begins` tells by its first bytes whether a fragment begins a frame, where the format can tell; else fragments are
    shared out by the number of frames (None: one each).
    """
    table, fragments = _items(layout)
    if begins is None:
        return table, _shared_out(fragments, number, _offsets(layout, table))
    found: list[list[Span]] = []
    for start, stop in fragments:
        if not found or begins(layout.source[start : min(start + 16, stop)]):
            found.append([])
        found[-1].append((start, stop))
    return table, [Frame(tuple(each)) for each in found]


def _items(layout: Layout) -> tuple[Span, list[Span]]:
    """Where the value of the offset table and of every fragment lie."""
    _, _, _, pos, end, _ = layout.by_tag[PIXEL_DATA]
    spans: list[Span] = []
    try:
        while pos < end:
            tag, _, start, length = part10.header(layout.source, pos, layout.coding)
            if tag != _ITEM or start + length > end:
                raise StreamError(f"no fragment at byte {pos}")
            pos = start + length
            spans.append((start, pos))
    except part10.BrokenError as broken:
        raise StreamError(str(broken)) from broken
    if len(spans) < 2:
        raise StreamError("no fragment")
    return spans[0], spans[1:]


def _offsets(layout: Layout, table: Span) -> tuple[int, ...]:
    """The entries of the offset table, of the extended one where there is one."""
    extended = layout.value(_OFFSETS)
    raw, width = (extended, 8) if extended else (layout.source[slice(*table)], 4)
    return struct.unpack(
        f"<{len(raw) // width}{'Q' if width == 8 else 'L'}", raw[: len(raw) // width * width]
    )


def _shared_out(fragments: list[Span], number: int | None, offsets: Sequence[int]) -> list[Frame]:
    if number is None or number == len(fragments):
        return [Frame((each,)) for each in fragments]
    base = fragments[0][0] - _HEAD
    places = {start - _HEAD - base: at for at, (start, _) in enumerate(fragments)}
    if number > 1 and len(offsets) == number and set(offsets) <= places.keys():
        cuts = [*sorted(places[offset] for offset in offsets), len(fragments)]
        return [Frame(tuple(fragments[one:other])) for one, other in pairwise(cuts)]
    if number == 1:
        return [Frame(tuple(fragments))]
    raise StreamError("fragments cannot be shared out over the frames")


def rewritten(
    layout: Layout, table: Span, frames: Sequence[Frame], edits: Sequence[Sequence[Edit]]
) -> Replaced:
    """What stands instead where some frames are edited: each of these in one fragment, and tables that fit.

    Raises StreamError where the extended table does not fit the frames.
    """
    pieces: list[Piece] = []
    begins: list[int] = []
    lengths: list[int | None] = []
    size = 0
    for frame, changes in zip(frames, edits, strict=True):
        body = list(_edited(frame, changes)) if changes else [Range(frame.begin, frame.stop)]
        length = sum(map(_size, body))
        begins.append(size)
        lengths.append(length - _HEAD if changes else None)
        pieces += body
        size += length
    _, _, _, start, stop, _ = layout.by_tag[PIXEL_DATA]
    replaced = _extended(layout, begins, lengths)
    replaced[start, stop] = [_new_table(layout, table, frames, begins), *pieces]
    return replaced


def _edited(frame: Frame, edits: Sequence[Edit]) -> Iterator[Piece]:
    """An edited frame as one item of even length."""
    body = list(_kept(frame, edits))
    length = sum(map(_size, body))
    yield struct.pack("<HHL", _ITEM >> 16, _ITEM & 0xFFFF, length + length % 2)
    yield from body
    if length % 2:
        yield b"\0"


def _kept(frame: Frame, edits: Sequence[Edit]) -> Iterator[Piece]:
    """What stays of a frame, and what is new in it."""
    pos = 0
    total = sum(stop - start for start, stop in frame.fragments)
    for start, stop, new in (*edits, (total, total, b"")):
        yield from _ranges(frame, pos, start)
        if new:
            yield new
        pos = max(pos, stop)


def _ranges(frame: Frame, start: int, stop: int) -> Iterator[Piece]:
    """Bytes of a frame as ranges of the source."""
    behind = 0
    for begin, end in frame.fragments:
        one, other = max(start, behind), min(stop, behind + end - begin)
        if one < other:
            yield Range(begin + one - behind, begin + other - behind)
        behind += end - begin


def _new_table(layout: Layout, table: Span, frames: Sequence[Frame], begins: Sequence[int]) -> bytes:
    """The offset table: empty if it was, or if what it says leads nowhere."""
    there = layout.source[slice(*table)]
    new: list[int] = []
    if len(there) == 4 * len(frames):
        new = list(begins)
    elif there:
        places = {frame.begin - frames[0].begin: begin for frame, begin in zip(frames, begins, strict=True)}
        olds = struct.unpack(f"<{len(there) // 4}L", there[: len(there) // 4 * 4])
        new = [places[old] for old in olds] if all(old in places for old in olds) else []
    raw = struct.pack(f"<{len(new)}L", *new)
    return struct.pack("<HHL", _ITEM >> 16, _ITEM & 0xFFFF, len(raw)) + raw


def _extended(layout: Layout, begins: Sequence[int], lengths: Sequence[int | None]) -> Replaced:
    """The Extended Offset Table, where there is one; what it says of frames that stay is not touched."""
    replaced: Replaced = {}
    for tag, values in ((_OFFSETS, begins), (_LENGTHS, lengths)):
        raw = layout.value(tag)
        if not raw:
            continue
        if len(raw) != 8 * len(values):
            raise StreamError("the Extended Offset Table does not fit the frames")
        olds = struct.unpack(f"<{len(values)}Q", raw)
        new = [old if value is None else value for old, value in zip(olds, values, strict=True)]
        _, _, _, start, stop, _ = layout.by_tag[tag]
        replaced[start, stop] = [struct.pack(f"<{len(new)}Q", *new)]
    return replaced


def _size(piece: Piece) -> int:
    return len(piece) if isinstance(piece, bytes) else piece.stop - piece.start
