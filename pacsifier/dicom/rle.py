"""Where a frame of RLE Lossless ends. Source: DICOM PS3.5 annex G."""

from __future__ import annotations

import struct

from pacsifier.dicom.codestream import Found, StreamError

_HEADER_BYTES, _MOST_SEGMENTS = 64, 15


def look(data: bytes, samples: int) -> Found:
    """The end of a frame whose segments hold so many samples each; raises StreamError if it is none."""
    if len(data) < _HEADER_BYTES:
        raise StreamError("no RLE header")
    number, *offsets = struct.unpack("<16L", data[:_HEADER_BYTES])
    used, unused = offsets[:number], offsets[number:]
    if not used or number > _MOST_SEGMENTS or used != sorted(used) or any(unused):
        raise StreamError("no RLE header")
    if used[0] != _HEADER_BYTES or used[-1] > len(data):
        raise StreamError("no RLE header")
    start = pos = offsets[number - 1]
    made, size = 0, len(data)
    while made < samples and pos < size:
        code = data[pos]
        if code < 128:
            made, pos = made + code + 1, pos + code + 2
        elif code > 128:
            made, pos = made + 257 - code, pos + 2
        else:
            pos += 1
    if made < samples:
        return Found((), size)  # cut by its writer: all of it is taken for the picture
    end = min(pos + (pos - start) % 2, size)
    return Found((), end)
