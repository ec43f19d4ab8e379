"""Comments in JPEG 2000 codestreams, and boxes with texts around them and around JPEG XL.

Source: ITU-T T.800 annexes A (codestream) and I (boxes), T.814 (HTJ2K), T.801 (part 2), ISO/IEC 18181-2 (JPEG XL).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from pacsifier.dicom.codestream import Edit, Found, StreamError, at

_TILE_PART, _DATA, _END, _COMMENT, _LENGTHS = 0xFF90, 0xFF93, 0xFFD9, 0xFF64, 0xFF55
_ALONE = range(0xFF30, 0xFF40)
_NEEDED = frozenset(
    (
        *(0xFF50, 0xFF51, 0xFF52, 0xFF53, 0xFF56, 0xFF57, 0xFF58, 0xFF59, 0xFF5C, 0xFF5D, 0xFF5E, 0xFF5F),
        *(0xFF60, 0xFF61, 0xFF63, _LENGTHS),
        *range(0xFF70, 0xFF7A),  # of part 2: transforms and offsets of components
    )
)
# The picture, and how its samples become colours; any other box tells about it.
_BOXES = frozenset((b"jP  ", b"jp2c", b"JXL ", b"jxll", b"jxlc", b"jxlp"))
_HEADER = b"jp2h"  # a box of boxes
_HEADER_BOXES = frozenset((b"ihdr", b"bpcc", b"colr", b"pclr", b"cmap", b"cdef", b"res "))
_RESOLUTION = b"res "  # one more
_RESOLUTION_BOXES = frozenset((b"resc", b"resd"))
_INSIDE = {_HEADER: _HEADER_BOXES, _RESOLUTION: _RESOLUTION_BOXES}
# How long the content of a box is, where its kind tells: what stands behind that is no picture.
_LENGTHS_OF = {b"jP  ": 4, b"JXL ": 4, b"jxll": 1, b"ihdr": 14, b"resc": 10, b"resd": 10}
_COLOUR, _PALETTE, _CHANNELS = b"colr", b"pclr", b"cdef"
_ENUMERATED, _LONGER_COLOURS = 1, {14: 35, 19: 31}  # CIELab and CIEJab tell their ranges
_BRANDS = b"ftyp"
_KNOWN_BRANDS = frozenset(
    (b"jp2 ", b"jpx ", b"jpxb", b"jpm ", b"mjp2", b"mj2s", b"jph ", b"jhc ", b"J2P0", b"J2P1", b"jxl ")
)
_PICTURE = (b"jp2c", b"jxlc", b"jxlp")


@dataclass(frozen=True)
class _TilePart:
    """One tile-part: where its header begins and its data ends, and how many bytes go."""

    start: int
    stop: int
    length: int
    gone: int


def look(data: bytes) -> Found:
    """Where comments stand in the codestream that begins here; raises StreamError."""
    edits: list[Edit] = []
    tables: list[tuple[int, int]] = []
    pos = _header(data, 2, _TILE_PART, edits, tables)
    parts: list[_TilePart] = []
    while pos + 2 <= len(data) and at(data, pos) == _TILE_PART:
        part = _tile_part(data, pos, edits)
        parts.append(part)
        pos = part.stop
    if any(part.gone for part in parts):
        edits += _new_lengths(data, tables, parts)
    if pos + 2 <= len(data):
        if at(data, pos) != _END:
            raise StreamError(f"no tile-part at byte {pos}")
        pos += 2
    return Found(tuple(sorted(edits)), min(pos, len(data)))


def _header(
    data: bytes, pos: int, until: int, edits: list[Edit], tables: list[tuple[int, int]] | None = None
) -> int:
    """Walks a header to the marker that ends it; comments are added to the edits."""
    while (marker := at(data, pos)) != until:
        if marker in _ALONE:
            pos += 2
            continue
        stop = pos + 2 + at(data, pos + 2)
        if stop > len(data) or stop < pos + 4:
            raise StreamError(f"cut at byte {len(data)}")
        if marker == _COMMENT:
            edits.append((pos, stop, b""))
        elif marker not in _NEEDED:
            raise StreamError(f"marker {marker:04X} at byte {pos} is not understood")
        elif marker == _LENGTHS and tables is not None:
            tables.append((pos, stop))
        pos = stop
    return pos


def _tile_part(data: bytes, start: int, edits: list[Edit]) -> _TilePart:
    length = at(data, start + 6, 4)
    comments: list[Edit] = []
    behind = _header(data, start + 2 + at(data, start + 2), _DATA, comments) + 2
    if length:
        stop = start + length
    else:
        # The last one may run to the end of the codestream, a marker that no packet can hold.
        end = data.find(_END.to_bytes(2, "big"), behind)
        stop = len(data) if end < 0 else end
    if length and not behind <= stop:
        raise StreamError(f"a tile-part at byte {start} ends in its own header")
    gone = sum(stop_of - start_of for start_of, stop_of, _ in comments)
    edits += comments
    if gone and length:
        edits.append((start + 6, start + 10, (length - gone).to_bytes(4, "big")))
    return _TilePart(start, stop, length, gone)


def _new_lengths(data: bytes, tables: list[tuple[int, int]], parts: list[_TilePart]) -> Iterator[Edit]:
    """The entries of the tables of lengths (TLM) of those tile-parts that become shorter."""
    places = [
        place
        for start, stop in sorted(tables, key=lambda each: data[each[0] + 4])
        for place in _entries(data, start, stop)
    ]
    if not places:
        return
    if len(places) != len(parts):
        raise StreamError("the lengths of tile-parts do not fit the tile-parts")
    for (pos, width), part in zip(places, parts, strict=True):
        length = at(data, pos, width)
        if length != part.stop - part.start:
            raise StreamError("the lengths of tile-parts do not fit the tile-parts")
        if part.gone:
            yield pos, pos + width, (length - part.gone).to_bytes(width, "big")


def _entries(data: bytes, start: int, stop: int) -> Iterator[tuple[int, int]]:
    """Where the lengths of a table stand, and their width (T.800 section A.7.1)."""
    kind = data[start + 5]
    index, width = kind >> 4 & 3, 4 if kind & 0x40 else 2
    for pos in range(start + 6, stop, index + width):
        yield pos + index, width


def look_into_boxes(data: bytes) -> Found:
    """The boxes that tell about the picture, and comments of the codestream within; raises StreamError."""
    edits: list[Edit] = []
    kept: list[bytes] = []
    pos, shown = 0, False
    while pos < len(data):
        try:
            head, stop = _box(data, pos)
        except StreamError:
            if shown:
                break  # what follows the picture is no box
            raise
        kind = data[pos + 4 : pos + 8]
        changes = _of_box(data, pos, head, stop)
        edits += changes
        if kind == _HEADER:
            kept.append(_left(data, head, stop, changes))
        shown = shown or kind in _PICTURE
        pos = stop
    return Found(tuple(sorted(edits)), pos, b"\0".join(kept))


def _left(data: bytes, start: int, stop: int, edits: list[Edit]) -> bytes:
    """What some edits leave of a box; a profile of colours may name somebody."""
    out, pos = b"", start
    for begin, end, _ in sorted(each for each in edits if start <= each[0]):
        out, pos = out + data[pos:begin], end
    return out + data[pos:stop]


def _of_box(data: bytes, pos: int, head: int, stop: int) -> list[Edit]:
    """The edits of a box of the file."""
    kind = data[pos + 4 : pos + 8]
    if kind == b"jp2c":
        return [*_inner(data, pos, head, stop)]
    if kind == _HEADER:
        return _of_superbox(data, pos, head, stop)
    if kind == _BRANDS:
        return _of_brands(data, pos, head, stop)
    return _to_its_length(data, pos, head, stop) if kind in _BOXES else [(pos, stop, b"")]


def _of_superbox(data: bytes, pos: int, head: int, stop: int) -> list[Edit]:
    """The edits of the boxes in a box, and of its length."""
    kept = _INSIDE[data[pos + 4 : pos + 8]]
    edits: list[Edit] = []
    at_box = head
    while at_box < stop:
        inner, end = _box(data[:stop], at_box)
        kind = data[at_box + 4 : at_box + 8]
        if kind not in kept:
            edits.append((at_box, end, b""))
        elif kind in _INSIDE:
            edits += _of_superbox(data, at_box, inner, end)
        else:
            edits += _to_its_length(data, at_box, inner, end)
        at_box = end
    gone = sum(end - begin - len(new) for begin, end, new in edits)
    return [*edits, *_shorter_by(data, pos, head, gone)]


def _to_its_length(data: bytes, pos: int, head: int, stop: int) -> list[Edit]:
    """The edits of a box that holds more than its kind has room for."""
    end = head + _length_of(data[pos + 4 : pos + 8], data, head, stop)
    if end >= stop:
        return []
    return [(end, stop, b""), *_shorter_by(data, pos, head, stop - end)]


def _length_of(kind: bytes, data: bytes, head: int, stop: int) -> int:
    """The bytes that the content of a box has, as far as it tells; raises StreamError."""
    if kind == _CHANNELS:
        return 2 + 6 * at(data, head)
    if kind == _PALETTE:
        columns = at(data, head + 2, 1)
        widths = ((depth & 0x7F) // 8 + 1 for depth in data[head + 3 : head + 3 + columns])
        return 3 + columns + at(data, head) * sum(widths)
    if kind == _COLOUR and at(data, head, 1) == _ENUMERATED:
        return _LONGER_COLOURS.get(at(data, head + 3, 4), 7)
    return _LENGTHS_OF.get(kind, stop - head)


def _of_brands(data: bytes, pos: int, head: int, stop: int) -> list[Edit]:
    """The edits of the box of brands: a reader looks for one that it knows, and nobody needs others and a version."""
    if at(data, head, 4).to_bytes(4, "big") not in _KNOWN_BRANDS:
        raise StreamError(f"the brand at byte {head} is not known")
    edits: list[Edit] = [(head + 4, head + 8, bytes(4))] if any(data[head + 4 : head + 8]) else []
    others = [
        each for each in range(head + 8, stop, 4) if data[each : min(each + 4, stop)] not in _KNOWN_BRANDS
    ]
    edits += ((each, min(each + 4, stop), b"") for each in others)
    return [*edits, *_shorter_by(data, pos, head, sum(min(4, stop - each) for each in others))]


def _shorter_by(data: bytes, pos: int, head: int, gone: int) -> Iterator[Edit]:
    """The new length of a box; one that runs to the end of the data tells none."""
    if gone and at(data, pos, 4):
        width, place = (4, pos) if head == pos + 8 else (8, pos + 8)
        yield place, place + width, (at(data, place, width) - gone).to_bytes(width, "big")


def _box(data: bytes, pos: int) -> tuple[int, int]:
    """Where the content of a box begins and ends."""
    length, head = at(data, pos, 4), pos + 8
    if length == 1:
        length, head = at(data, pos + 8, 8), pos + 16
    stop = pos + length if length else len(data)
    if not head <= stop <= len(data):
        raise StreamError(f"no box at byte {pos}")
    return head, stop


def _inner(data: bytes, pos: int, head: int, stop: int) -> Iterator[Edit]:
    """The edits of the codestream in a box, and of the length of the box."""
    found = look(data[head:stop])
    gone = sum(end - begin - len(new) for begin, end, new in found.edits)
    behind = stop - head - found.end
    for begin, end, new in found.edits:
        yield begin + head, end + head, new
    if behind:
        yield head + found.end, stop, b""
    yield from _shorter_by(data, pos, head, gone + behind)
