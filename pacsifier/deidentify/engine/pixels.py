"""The pixel data is copied byte for byte, except what is no picture in it.

Overlays in its unused bits, comments and Exif in compressed frames, and bytes behind the last pixel go; the pixels are
the same afterwards. Where that cannot be, no instance is written.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence

from pacsifier.dicom import encapsulated, jpeg, jpeg2000, rle
from pacsifier.dicom.codestream import Edit, Found, StreamError
from pacsifier.dicom.part10 import PIXEL_DATA, Layout
from pacsifier.dicom.splice import AnyPiece, MaskedRange, Piece, Range, UnreadableError

_SAMPLES, _PHOTOMETRIC, _FRAMES, _ROWS, _COLUMNS = 0x00280002, 0x00280004, 0x00280008, 0x00280010, 0x00280011
_BITS_ALLOCATED, _BITS_STORED, _HIGH_BIT = 0x00280100, 0x00280101, 0x00280102
_BIT_POSITIONS = frozenset(range(0x60000102, 0x60FF0102, 0x20000))  # of overlays
_FLOATS = {0x7FE00008: 32, 0x7FE00009: 64}
_RLE = "1.2.840.10008.1.2.5"
_UNCOMPRESSED_FRAMES, _DEFLATED_FRAMES = "1.2.840.10008.1.2.1.98", "1.2.840.10008.1.2.8.1"
_VIDEO = "1.2.840.10008.1.2.4.10"
_COMPRESSED = ("1.2.840.10008.1.2.4.", _RLE, _UNCOMPRESSED_FRAMES, _DEFLATED_FRAMES)
_MARKERS = (b"\xff\xd8\xff", b"\xff\x4f\xff\x51")
_ITEM = b"\xfe\xff\x00\xe0"
_SIGNS = bytes((0, 9, 10, 13, *range(32, 127)))
_FEWEST_SIGNS = 8
_CHUNK, _OVERLAP = 1 << 20, 1 << 10
_LOOKS: tuple[tuple[bytes, Callable[[bytes], Found]], ...] = (
    (_MARKERS[0], jpeg.look),
    (_MARKERS[1], jpeg2000.look),
    (b"\0\0\0\x0cjP  ", jpeg2000.look_into_boxes),
    (b"\0\0\0\x0cJXL ", jpeg2000.look_into_boxes),
    (b"\xff\x0a", lambda data: Found((), len(data))),  # JPEG XL without boxes
)
"""How the formats begin, and who looks into them."""

Named = Callable[[bytes], bool]
"""Whether bytes hold a known identifier."""
_Replaced = Mapping[tuple[int, int], Sequence[AnyPiece]]


def overlay_bits(layout: Layout) -> int:
    """The bits of a sample that hold overlays (PS3.3 C.9.2), outside the stored bits; 0 where there are none."""
    tags = layout.by_tag.keys() & _BIT_POSITIONS
    positions = [number for tag in tags if (number := _number(layout, tag))]
    if not positions:
        return 0
    high, stored = _number(layout, _HIGH_BIT), _number(layout, _BITS_STORED)
    used = ((1 << stored) - 1) << max(high + 1 - stored, 0)
    return sum({1 << position for position in positions}) & ~used


def only_pixels(layout: Layout, pieces: list[Piece], named: Named) -> list[AnyPiece]:
    """The pieces of a data set with nothing but pixels in its pixel data.

    Raises UnreadableError where something else is in it, or may be, and cannot be taken out.
    """
    if layout.is_compressed:
        return [*_compressed(layout, pieces, named)]
    out: list[AnyPiece] = [*pieces]
    for tag in (PIXEL_DATA, *_FLOATS):
        if tag in layout.by_tag:
            out = _uncompressed(layout, tag, out, named)
    return out


# --- not compressed -----------------------------------------------------------------------------------------------


def _uncompressed(layout: Layout, tag: int, pieces: list[AnyPiece], named: Named) -> list[AnyPiece]:
    _, _, _, start, stop, _ = layout.by_tag[tag]
    first = layout.source[start : min(start + 16, stop)]
    if layout.transfer_syntax.startswith(_COMPRESSED) and first.startswith((_ITEM, *_MARKERS)):
        raise UnreadableError("compressed pixel data that is not encapsulated")
    end = _end_of_pixels(layout, tag, named)
    pixels = _masked(layout, tag, end)
    if end == stop:
        return pieces if isinstance(pixels, Range) else _put(pieces, {(start, stop): [pixels]})
    length = end - start + (end - start) % 2
    head = length.to_bytes(4, "big" if layout.coding.big else "little")
    return _put(pieces, {(start - 4, stop): [head, pixels, b"\0" * ((end - start) % 2)]})


def _masked(layout: Layout, tag: int, end: int) -> Range | MaskedRange:
    """The pixels to the last one, with overlay bits cleared; raises UnreadableError in a deflated data set."""
    start = layout.by_tag[tag][3]
    bits = overlay_bits(layout) if tag == PIXEL_DATA else 0
    if not bits:
        return Range(start, end)
    if layout.deflated:
        raise UnreadableError("overlay inside deflated pixel data")
    width = _number(layout, _BITS_ALLOCATED) // 8
    keep = tuple((~bits & (1 << 8 * width) - 1).to_bytes(width, "big" if layout.coding.big else "little"))
    return MaskedRange(start, end, keep)


def _end_of_pixels(layout: Layout, tag: int, named: Named) -> int:
    """The byte behind the last pixel; the end of the value where it is not certain.

    Whole frames more than the header tells may be pictures: they stay, unless they are text. Raises UnreadableError if
    they name somebody.
    """
    _, _, head, start, stop, _ = layout.by_tag[tag]
    frame = _frame_bits(layout, tag)
    number = _frames(layout)
    if not frame or not number or start - head < 8:
        return stop
    end = start + (frame * number + 7) // 8
    behind = stop - end
    if behind <= 1 or (layout.coding.implicit is False and start - head != 12):
        return stop
    if behind * 8 % frame == 0:
        if _names(layout, end, stop, named):
            raise UnreadableError("a known identifier stands behind the pixels")
        return end if _is_text(layout.source[end : min(stop, end + _CHUNK)]) else stop
    return end


def _is_text(raw: bytes) -> bool:
    """Whether bytes are letters and signs, more of them than a mask of few values has, and zeros."""
    return not raw.translate(None, _SIGNS) and len(set(raw)) >= _FEWEST_SIGNS


def _frame_bits(layout: Layout, tag: int) -> int:
    """The bits of a frame; 0 if they are not told."""
    bits = _FLOATS.get(tag) or _number(layout, _BITS_ALLOCATED)
    samples = _number(layout, _SAMPLES) or 1
    pixels = _number(layout, _ROWS) * _number(layout, _COLUMNS)
    whole = pixels * samples * bits
    _, _, _, start, stop, _ = layout.by_tag[tag]
    if samples == 3 and (layout.value(_PHOTOMETRIC) or b"").strip(b"\0 ").endswith(b"422"):
        # Two pixels share their colours, except where a writer gave each its own.
        return whole if (stop - start) * 8 >= whole * _frames(layout) else pixels * 2 * bits
    return whole


def _frames(layout: Layout) -> int:
    """NumberOfFrames: 1 if absent, 0 if it is no number."""
    text = (layout.value(_FRAMES) or b"1").decode("latin_1").strip(" \0") or "1"
    return int(text) if text.isascii() and text.isdigit() else 0


# --- compressed ---------------------------------------------------------------------------------------------------


def _compressed(layout: Layout, pieces: list[Piece], named: Named) -> Sequence[AnyPiece]:
    if overlay_bits(layout):
        raise UnreadableError("overlay inside compressed pixel data")
    _, _, _, start, stop, _ = layout.by_tag[PIXEL_DATA]
    syntax = layout.transfer_syntax
    if syntax.startswith(_VIDEO):
        # Its comments cannot be taken out; and its mark says NO whatever is in it.
        if _names(layout, start, stop, named):
            raise UnreadableError("a known identifier stands inside compressed pixel data")
        return pieces
    try:
        return _put([*pieces], _frames_edited(layout, named))
    except StreamError as error:
        raise UnreadableError("comments in compressed pixel data cannot be found", str(error)) from error


def _frames_edited(layout: Layout, named: Named) -> encapsulated.Replaced:
    """What stands in the place of pixel data and offset tables; nothing where all of it stays."""
    syntax, number = layout.transfer_syntax, _frames(layout)
    if syntax == _RLE:
        table, frames = encapsulated.frames(layout, None, None)
    elif syntax in (_UNCOMPRESSED_FRAMES, _DEFLATED_FRAMES):
        table, frames = encapsulated.frames(layout, None, number)
    else:
        table, frames = encapsulated.frames(layout, _begins, number)
    certain = number == len(frames)
    edits = [_edits(layout, frame, named, certain=certain) for frame in frames]
    return encapsulated.rewritten(layout, table, frames, edits) if any(edits) else {}


def _begins(first: bytes) -> bool:
    return any(first.startswith(beginning) for beginning, _ in _LOOKS[:-1])


def _edits(layout: Layout, frame: encapsulated.Frame, named: Named, *, certain: bool) -> list[Edit]:
    """What goes out of a frame; `certain`: there are as many as the header tells.

    Raises UnreadableError if what must stay names somebody, and StreamError.
    """
    data = frame.bytes_of(layout.source)
    found = _found(layout, data)
    if found.kept and named(found.kept):
        raise UnreadableError("a known identifier stands inside compressed pixel data")
    edits = list(found.edits)
    tail = data[found.end :]
    if tail.strip(b"\0"):
        if not certain and (found.end <= frame.last or any(each in tail for each in _MARKERS)):
            raise StreamError("more pictures than the header tells")
        edits.append((found.end, len(data), b""))
    return edits


def _found(layout: Layout, data: bytes) -> Found:
    """What one frame holds beside the picture; raises StreamError."""
    syntax = layout.transfer_syntax
    if syntax == _RLE:
        samples = _number(layout, _ROWS) * _number(layout, _COLUMNS)
        return _to(rle.look(data, samples).end if samples else len(data), data)
    if syntax == _UNCOMPRESSED_FRAMES:
        size = (_frame_bits(layout, PIXEL_DATA) + 7) // 8
        return _to(size if 0 < size <= len(data) else len(data), data)
    if syntax == _DEFLATED_FRAMES:
        return _to(_end_of_deflated(data), data)
    for beginning, look in _LOOKS:
        if data.startswith(beginning):
            return look(data)
    raise StreamError("a format that is not known")


def _to(end: int, data: bytes) -> Found:
    """A format without room for comments; all of it is searched."""
    return Found((), end, data[:end])


def _end_of_deflated(data: bytes) -> int:
    stream, rest, came = zlib.decompressobj(-zlib.MAX_WBITS), data, b"x"
    try:
        while not stream.eof and (rest or came):
            came = stream.decompress(rest, _CHUNK)
            rest = stream.unconsumed_tail
    except zlib.error as error:
        raise StreamError(str(error)) from error
    return len(data) - len(stream.unused_data)


# --- both ---------------------------------------------------------------------------------------------------------


def _names(layout: Layout, start: int, stop: int, named: Named) -> bool:
    return any(
        named(layout.source[pos : min(pos + _CHUNK + _OVERLAP, stop)]) for pos in range(start, stop, _CHUNK)
    )


def _put(pieces: Sequence[AnyPiece], replaced: _Replaced) -> list[AnyPiece]:
    """The pieces with other bytes in the place of some of the source's."""
    out: list[AnyPiece] = []
    for piece in pieces:
        out += _pieces_of(piece, replaced) if isinstance(piece, Range) else [piece]
    return out


def _pieces_of(piece: Range, replaced: _Replaced) -> Iterator[AnyPiece]:
    pos = piece.start
    for (start, stop), new in sorted(replaced.items(), key=lambda each: each[0]):
        if pos <= start and stop <= piece.stop:
            yield Range(pos, start)
            yield from new
            pos = stop
    yield Range(pos, piece.stop)


def _number(layout: Layout, tag: int) -> int:
    raw = layout.value(tag) or b""
    return int.from_bytes(raw[:2], "big" if layout.coding.big else "little")
