"""A DICOM file made from another one: new elements between ranges that go over byte for byte, pixel data among them."""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from io import FileIO
from pathlib import Path

from pacsifier.dicom import part10

_CHUNK = 1 << 20
_LEAST_RANGE = 1 << 16  # a shorter range is read and written with what stands beside it

Added = tuple[int, str, bytes]
"""Tag, VR and value of an element; an empty VR takes the element out."""


class UnreadableError(Exception):
    """The file cannot be rewritten: `reason` is one of a few, `detail` tells of this file; no value of it in either."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(reason, detail)
        self.reason, self.detail = reason, detail

    def __str__(self) -> str:
        return f"{self.reason}: {self.detail}" if self.detail else self.reason


@dataclass(frozen=True)
class Range:
    """Bytes of the source that go over unchanged."""

    start: int
    stop: int


@dataclass(frozen=True)
class MaskedRange:
    """Bytes of the source that go over with some bits cleared; `masks` are the bits to keep, byte by byte in turn."""

    start: int
    stop: int
    masks: tuple[int, ...]


Piece = bytes | Range
AnyPiece = Piece | MaskedRange


@dataclass(frozen=True)
class Spliced:
    """What a file becomes, as pieces in order; `handle` is the source, `held` its bytes if they are in memory."""

    handle: FileIO
    pieces: Sequence[AnyPiece]
    held: part10.Buffer | None = None

    def chunks(self) -> Iterator[bytes]:
        """All bytes in order, at most 1 MB at a time."""
        for piece in self.pieces:
            if isinstance(piece, bytes):
                yield piece
            else:
                yield from _chunks(self.handle.fileno(), piece)

    def equals(self, path: Path) -> bool:
        """Whether a file holds exactly these bytes."""
        size = sum(len(each) if isinstance(each, bytes) else each.stop - each.start for each in self.pieces)
        if not path.is_file() or path.stat().st_size != size:
            return False
        with path.open("rb") as file:
            return all(file.read(len(chunk)) == chunk for chunk in self.chunks())

    def write(self, target: str | Path, mode: int | None = None, *, durable: bool = False) -> int:
        """Writes the bytes to a new file, ranges in the kernel where it can; returns its size.

        `durable` waits for the disk. Nothing is left of a file that could not be written whole. Raises
        UnreadableError and OSError.
        """
        descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
        try:
            size = self._write(descriptor)
            if mode is not None:
                os.fchmod(descriptor, mode)
            if durable:
                os.fsync(descriptor)
        except BaseException:
            os.unlink(target)  # noqa: PTH108 - making a Path costs as much as the unlinking
            raise
        finally:
            os.close(descriptor)
        return size

    def _write(self, descriptor: int) -> int:
        source = self.handle.fileno()
        waiting: list[bytes] = []
        size = 0
        for piece in self.pieces:
            if isinstance(piece, bytes):
                waiting.append(piece)
            elif isinstance(piece, Range) and piece.stop - piece.start < _LEAST_RANGE:
                waiting.append(self._short(piece))
            else:
                size += write_all(descriptor, b"".join(waiting))
                waiting = []
                size += copy_range(source, descriptor, piece)
        return size + write_all(descriptor, b"".join(waiting))

    def _short(self, piece: Range) -> bytes:
        if isinstance(self.held, bytes):
            return self.held[piece.start : piece.stop]
        return _read(self.handle.fileno(), piece.stop - piece.start, piece.start)


def unchanged(handle: FileIO) -> Spliced:
    """A file as it is."""
    return Spliced(handle, (Range(0, os.fstat(handle.fileno()).st_size),))


def spliced(handle: FileIO, layout: part10.Layout, added: Iterable[Added]) -> Spliced:
    """The file with elements added, or in the place of those with their tags; nothing else changes.

    A group length (retired) of a group that is touched goes, for it would be wrong. Raises UnreadableError.
    """
    if not layout.is_part10 or layout.defect or not layout.elements:
        raise UnreadableError(layout.defect or "no Part 10 file")
    fresh = sorted(added)
    size = os.fstat(handle.fileno()).st_size
    if layout.deflated:
        return Spliced(handle, _deflated(layout, fresh))
    end = Range(layout.end, size)
    return Spliced(handle, [Range(0, layout.elements[0][2]), *_pieces(layout, fresh), end])


def _pieces(layout: part10.Layout, fresh: Sequence[Added]) -> Iterator[Piece]:
    """The data set: what is new encoded as the rest is, each in its place."""
    waiting = [
        (tag, part10.encode_element(tag, vr, value, layout.coding) if vr else b"") for tag, vr, value in fresh
    ]
    gone = {tag for tag, _, _ in fresh} | {tag & 0xFFFF0000 for tag, _, _ in fresh}
    begin = stop = layout.elements[0][2]
    for tag, _, head, _, _, after in layout.elements:
        due = bool(waiting) and waiting[0][0] <= tag
        if due or tag in gone or head != stop:
            yield Range(begin, stop)
            begin = head
        while waiting and waiting[0][0] <= tag:
            yield waiting.pop(0)[1]
        if tag in gone:
            begin = after
        stop = after
    yield Range(begin, stop)
    yield from (encoded for _, encoded in waiting)


def _deflated(layout: part10.Layout, fresh: Sequence[Added]) -> list[Piece]:
    """The pieces of a file whose data set is deflated: it is inflated, changed and deflated again."""
    return [Range(0, layout.offset), deflated(layout.source, _pieces(layout, fresh))]


def deflated(source: part10.Buffer, pieces: Iterable[Piece]) -> bytes:
    """The pieces of an inflated data set as a deflated stream of even length (PS3.5 section A.5)."""
    stream = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    parts = (source[each.start : each.stop] if isinstance(each, Range) else each for each in pieces)
    body = b"".join(map(stream.compress, parts)) + stream.flush()
    return body + b"\0" * (len(body) % 2)


def copy_range(source: int, target: int, piece: Range | MaskedRange) -> int:
    """Copies a range of an open file to the end of another, in the kernel where it can; returns its length."""
    if isinstance(piece, MaskedRange):
        return sum(write_all(target, chunk) for chunk in _chunks(source, piece))
    at = piece.start
    use: Callable[[int, int, int, int], int] = _by_kernel
    while at < piece.stop:
        try:
            done = use(source, target, at, piece.stop - at)
        except OSError:
            if use is _by_hand:
                raise
            use = _by_hand
            continue
        if not done:
            raise UnreadableError("the file became shorter while it was read")
        at += done
    return piece.stop - piece.start


def write_all(descriptor: int, data: bytes) -> int:
    """Writes all bytes, however many the system takes at once; returns their number."""
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]
    return len(data)


def _chunks(descriptor: int, piece: Range | MaskedRange) -> Iterator[bytes]:
    """The bytes of a range of an open file, at most 1 MB at a time."""
    masks = piece.masks if isinstance(piece, MaskedRange) else ()
    tables = [bytes(value & mask for value in range(256)) for mask in masks]
    for at in range(piece.start, piece.stop, _CHUNK):
        chunk = _read(descriptor, min(_CHUNK, piece.stop - at), at)
        yield _masked(chunk, tables, at - piece.start) if masks else chunk


def _masked(raw: bytes, tables: Sequence[bytes], at: int) -> bytes:
    """The bytes with some bits cleared, by a table for each byte of a sample; `at` is where they stand in the range."""
    chunk, width = bytearray(raw), len(tables)
    for number, table in enumerate(tables):
        mine = slice((number - at) % width, None, width)
        chunk[mine] = chunk[mine].translate(table)
    return bytes(chunk)


def _by_kernel(source: int, target: int, at: int, length: int) -> int:
    return os.copy_file_range(source, target, length, offset_src=at)


def _by_hand(source: int, target: int, at: int, length: int) -> int:
    return write_all(target, os.pread(source, min(length, _CHUNK), at))


def _read(descriptor: int, length: int, at: int) -> bytes:
    data = os.pread(descriptor, length, at)
    while len(data) < length:
        more = os.pread(descriptor, length - len(data), at + len(data))
        if not more:
            raise UnreadableError("the file became shorter while it was read")
        data += more
    return data
