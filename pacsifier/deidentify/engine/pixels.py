"""The pixel data is copied byte for byte, except overlays in its unused bits; comments in it must name nobody."""

from __future__ import annotations

from pacsifier.dicom.part10 import PIXEL_DATA, Layout
from pacsifier.dicom.splice import AnyPiece, MaskedRange, Piece, Range, UnreadableError

_BITS_ALLOCATED, _BITS_STORED, _HIGH_BIT = 0x00280100, 0x00280101, 0x00280102
_COMMENTS_BYTES = 1 << 14


def overlay_bits(layout: Layout) -> int:
    """The bits of a sample that hold overlays (PS3.3 C.9.2), outside the stored bits; 0 where there are none."""
    tags = [tag for tag in layout.by_tag if tag & 0xFF01FFFF == 0x60000102]
    positions = [number for tag in tags if (number := _number(layout, tag))]
    if not positions:
        return 0
    high, stored = _number(layout, _HIGH_BIT), _number(layout, _BITS_STORED)
    used = ((1 << stored) - 1) << max(high + 1 - stored, 0)
    return sum({1 << position for position in positions}) & ~used


def without_overlays(layout: Layout, pieces: list[Piece]) -> list[AnyPiece]:
    """The pieces of a data set with the overlay bits of its pixels cleared.

    Raises UnreadableError if the pixel data is compressed or in a deflated data set.
    """
    bits = overlay_bits(layout)
    pixels = layout.by_tag.get(PIXEL_DATA)
    if not bits or pixels is None:
        return [*pieces]
    if layout.is_compressed:
        raise UnreadableError("overlay inside compressed pixel data")
    _, _, _, start, stop, _ = pixels
    width = _number(layout, _BITS_ALLOCATED) // 8
    keep = tuple((~bits & (1 << 8 * width) - 1).to_bytes(width, "big" if layout.coding.big else "little"))
    out: list[AnyPiece] = []
    for piece in pieces:
        if isinstance(piece, Range) and piece.start <= start and stop <= piece.stop:
            if layout.deflated:
                raise UnreadableError("overlay inside deflated pixel data")
            out += (Range(piece.start, start), MaskedRange(start, stop, keep), Range(stop, piece.stop))
        else:
            out.append(piece)
    return out


def comments(layout: Layout) -> bytes:
    """The beginning of compressed pixel data, where comments stand (JPEG comments, Exif); b"" if not compressed."""
    if not layout.is_compressed:
        return b""
    _, _, _, start, stop, _ = layout.by_tag[PIXEL_DATA]
    return layout.source[start : min(start + _COMMENTS_BYTES, stop)]


def _number(layout: Layout, tag: int) -> int:
    raw = layout.value(tag) or b""
    return int.from_bytes(raw[:2], "big" if layout.coding.big else "little")
