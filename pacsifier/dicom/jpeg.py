"""Comments and application data in JPEG and JPEG-LS streams.

Source: ITU-T T.81 annex B (JPEG), T.87 annex C (JPEG-LS), T.871 (JFIF), T.84 annex F (SPIFF), T.872 (Adobe, ICC).
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from pacsifier.dicom.codestream import Edit, Found, StreamError, at

_SCAN, _END, _COMMENT = 0xDA, 0xD9, 0xFE
_JPEG_LS_FRAME, _JPEG_LS_TABLES = 0xF7, 0xF8
_ALONE = frozenset((0x01, *range(0xD0, 0xD8)))
_APPLICATION = frozenset(range(0xE0, 0xF0))
# Frames, tables, restart interval, number of lines: all that a decoder needs.
_NEEDED = frozenset((*range(0xC0, 0xD0), *range(0xDA, 0xE0))) - {0xC8}
_MARKER = re.compile(rb"\xff+([\x01-\xfe])")
# In a scan of JPEG 0 follows 0xFF, or the number of a restart; in JPEG-LS a bit that is 0 (T.87 section A.1).
_BEHIND_SCAN = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")
_BEHIND_LS_SCAN = re.compile(rb"\xff[\x80-\xcf\xd8-\xfe]")
# Without a thumbnail; longer ones hold a small picture of what was there before.
_JFIF_BYTES, _ADOBE_BYTES = 14, 12
_SPIFF_END = b"\0\0\0\1"

Segment = tuple[int, int, int]
"""Marker, and where the segment begins (with its marker) and ends."""


def look(data: bytes) -> Found:
    """Where comments, Exif and the like stand in a stream that begins here; raises StreamError."""
    segments = list(_segments(data))
    is_ls = _is_ls(segments)
    edits: list[Edit] = []
    kept: list[bytes] = []
    for marker, start, stop in segments[:-1]:
        head = start + data[start:stop].index(marker) + 3
        content = data[head:stop]
        if marker == _COMMENT or (marker in _APPLICATION and not _stays(marker, content, is_ls)):
            edits.append((start, stop, b""))
        elif marker in _APPLICATION:
            least = _least(marker, content)
            if least != content:
                edits.append((head - 2, stop, (len(least) + 2).to_bytes(2, "big") + least))
            kept.append(least)
        elif marker not in _NEEDED and not (is_ls and marker in (_JPEG_LS_FRAME, _JPEG_LS_TABLES)):
            raise StreamError(f"marker {marker:02X} at byte {start} is not understood")
    return Found(tuple(edits), segments[-1][2], b"\0".join(kept))


def _segments(data: bytes) -> Iterator[Segment]:
    """Every segment from the first to the end of the image, or of the data where the end is missing."""
    pos, is_ls = 2, False
    while True:
        found = _MARKER.match(data, pos)
        if found is None:
            raise StreamError(f"no marker at byte {pos}")
        marker, start, pos = found[1][0], pos, found.end()
        if marker in _ALONE:
            continue
        if marker == _END:
            yield marker, start, pos
            return
        length = at(data, pos)
        if length < 2 or pos + length > len(data):
            raise StreamError(f"cut at byte {len(data)}")
        pos += length
        yield marker, start, pos
        is_ls = is_ls or marker == _JPEG_LS_FRAME
        if marker == _SCAN:
            behind = (_BEHIND_LS_SCAN if is_ls else _BEHIND_SCAN).search(data, pos)
            if behind is None:
                # Cut by its writer: whatever is there is taken for the picture.
                yield _END, len(data), len(data)
                return
            fill = data[pos : behind.start()]
            pos += len(fill.rstrip(b"\xff"))


def _is_ls(segments: list[Segment]) -> bool:
    return any(marker == _JPEG_LS_FRAME for marker, _, _ in segments)


def _stays(marker: int, content: bytes, is_ls: bool) -> bool:
    """Whether application data says what the samples mean: JFIF, Adobe, ICC; the colour transform of JPEG-LS."""
    if marker == 0xE8:
        return is_ls and (content.startswith((b"mrfx", b"SPIFF\0")) or content[:4] == _SPIFF_END)
    beginnings = {0xE0: b"JFIF\0", 0xE2: b"ICC_PROFILE\0", 0xEE: b"Adobe"}
    return marker in beginnings and content.startswith(beginnings[marker])


def _least(marker: int, content: bytes) -> bytes:
    """Application data without what was added to it, such as a thumbnail."""
    if marker == 0xE0:
        return content[: _JFIF_BYTES - 2] + b"\0\0"
    return content[:_ADOBE_BYTES] if marker == 0xEE else content
