"""What of a compressed picture tells about it instead of showing it: comments, Exif, whatever follows its end.

Finds, and changes nothing. Source: the standards of each format, named in `jpeg` and `jpeg2000`.
"""

from __future__ import annotations

from dataclasses import dataclass

Edit = tuple[int, int, bytes]
"""Where bytes begin and end, and what stands there instead."""


class StreamError(Exception):
    """The bytes are no stream of the format, or have a part that is not understood; the text says where."""


@dataclass(frozen=True)
class Found:
    """What to change in a stream, in order; `end` is the byte behind it; `kept`: texts that stay for the colours."""

    edits: tuple[Edit, ...]
    end: int
    kept: bytes = b""


def at(data: bytes, pos: int, width: int = 2) -> int:
    """The big endian number at a byte; raises StreamError behind the end."""
    field = data[pos : pos + width]
    if len(field) != width:
        raise StreamError(f"cut at byte {len(data)}")
    return int.from_bytes(field, "big")
