"""Where the pixel data of a DICOM file lies, frame by frame, and what its samples mean.

Nothing of the pixel data is read before it is asked for; a deflated data set is inflated into a nameless file first.
Sources: DICOM PS3.5 sections 8 and A.4, PS3.3 section C.7.6.3.
"""

from __future__ import annotations

import contextlib
import re
import struct
import tempfile
import warnings
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any, Final

DEFLATED: Final = "1.2.840.10008.1.2.1.99"
BIG_ENDIAN: Final = "1.2.840.10008.1.2.2"
IMPLICIT: Final = "1.2.840.10008.1.2"
EXPLICIT: Final = "1.2.840.10008.1.2.1"
UNCOMPRESSED: Final = frozenset((IMPLICIT, EXPLICIT, DEFLATED, BIG_ENDIAN))
OFFSETS: Final = 0x7FE00001
LENGTHS: Final = 0x7FE00002
ITEM_HEAD: Final = 8  # bytes of the header of an item
_PIXELS: Final = (0x7FE00008, 0x7FE00009, 0x7FE00010)
_FLOATS: Final = {0x7FE00008: 32, 0x7FE00009: 64}
_LONG: Final = (b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"UN")
_ITEM: Final = b"\xfe\xff\x00\xe0"
_END: Final = b"\xfe\xff\xdd\xe0"
_UNDEFINED: Final = 0xFFFFFFFF
_CHUNK: Final = 1 << 20
_VIDEO: Final = "1.2.840.10008.1.2.4.10"  # MPEG-2, MPEG-4, HEVC
# JPEG and JPEG-LS, a JPEG 2000 codestream, JP2 and JPEG XL in boxes.
_BEGINNINGS: Final = (b"\xff\xd8\xff", b"\xff\x4f\xff\x51", b"\0\0\0\x0cjP  ", b"\0\0\0\x0cJXL ", b"\xff\x0a")
_SYNTAX: Final = re.compile(rb"\x02\x00\x10\x00UI(..)([0-9.]+)", re.DOTALL)

Span = tuple[int, int]
"""Where bytes begin and end."""


class PixelsError(Exception):
    """The pixels of a file cannot be read; `reason` holds no value of the file."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True)
class Meaning:
    """What the samples of a file mean; `frames` as many as are stored, `overlay_bits` those that hold no pixel."""

    syntax: str
    rows: int
    columns: int
    samples: int
    frames: int
    photometric: str
    by_plane: bool
    allocated: int
    stored: int
    high: int
    signed: bool
    is_float: bool = False
    halved: bool = False
    overlay_bits: int = 0
    padding: tuple[int, int] | None = None

    @property
    def is_big(self) -> bool:
        """Whether samples stand in big endian order."""
        return self.syntax == BIG_ENDIAN

    @property
    def is_grey(self) -> bool:
        """Whether samples are levels of grey."""
        return self.samples == 1 and self.photometric != "PALETTE COLOR"

    @property
    def is_inverted(self) -> bool:
        """Whether the lowest value is shown white."""
        return self.photometric == "MONOCHROME1"

    @property
    def frame_bits(self) -> int:
        """The bits of an uncompressed frame; two pixels share their colours where it is `halved`."""
        return self.rows * self.columns * (2 if self.halved else self.samples) * self.allocated


@dataclass(frozen=True)
class Place:
    """Where things stand in the file that `Stored.file` reads: the value of the pixel data, and its frames.

    Frames of compressed pixel data are lists of fragments; `table` is the value of the Basic Offset Table; `extended`
    are the values of the two elements of the Extended Offset Table.
    """

    value: Span
    encapsulated: bool
    table: Span = (0, 0)
    frames: tuple[tuple[Span, ...], ...] = ()
    extended: tuple[Span, ...] = ()


@dataclass(frozen=True)
class Stored:
    """An open file: `head` are the bytes before its data set where this was inflated, else empty."""

    file: IO[bytes]
    head: bytes
    syntax_at: int
    header: Any
    meaning: Meaning
    place: Place

    def frame(self, index: int) -> bytes:
        """The bytes of a frame, as a decoder gets them; with the bits of its neighbours at its ends where it shares."""
        if self.place.encapsulated:
            return b"".join(self.read(span) for span in self.place.frames[index])
        return self.read(self.span(index))

    def span(self, index: int) -> Span:
        """Where an uncompressed frame stands, to whole bytes."""
        start, bits = self.place.value[0], self.meaning.frame_bits
        return start + index * bits // 8, start + ((index + 1) * bits + 7) // 8

    def read(self, span: Span) -> bytes:
        """Bytes of the file; raises PixelsError where it ends before."""
        self.file.seek(span[0])
        data = self.file.read(span[1] - span[0])
        if len(data) != span[1] - span[0]:
            raise PixelsError("the file ends within its pixel data")
        return data


@contextlib.contextmanager
def opened(path: Path, scratch: Path | None = None) -> Iterator[Stored]:
    """A file with pixel data, open for reading; a deflated one is inflated into a nameless file in `scratch`.

    Raises:
        PixelsError: it is no DICOM file, holds no pixels, or they do not fit what the header says.
        OSError: it cannot be read.
    """
    with path.open("rb") as file, opened_file(file, scratch) as stored:
        yield stored


@contextlib.contextmanager
def opened_file(file: IO[bytes], scratch: Path | None = None) -> Iterator[Stored]:
    """The same of a file that is open already, and stays so."""
    with contextlib.ExitStack() as stack:
        file.seek(0)
        head, syntax_at, syntax = _meta(file)
        inflated = b""
        if syntax == DEFLATED:
            inflated, file = head, stack.enter_context(_inflated(file, len(head), scratch))
        file.seek(0 if inflated else len(head))
        yield _stored(file, inflated, syntax_at, syntax)


def _meta(file: IO[bytes]) -> tuple[bytes, int, str]:
    """The bytes to the end of the File Meta Information, where its TransferSyntaxUID stands, and that UID."""
    start = file.read(144)
    if start[128:140] != b"DICM\x02\x00\x00\x00UL\x04\x00":
        raise PixelsError("no DICOM file with its File Meta Information")
    head = start + file.read(struct.unpack("<L", start[140:144])[0])
    found = _SYNTAX.search(head, 144)
    if not found:
        raise PixelsError("its transfer syntax is not told")
    return head, found.start(2), found[2].decode("ascii")


@contextlib.contextmanager
def _inflated(file: IO[bytes], start: int, scratch: Path | None) -> Iterator[IO[bytes]]:
    file.seek(start)
    stream = zlib.decompressobj(-zlib.MAX_WBITS)
    with tempfile.TemporaryFile(dir=scratch) as whole:
        try:
            while not stream.eof and (data := file.read(_CHUNK)):
                while data:
                    whole.write(stream.decompress(data, _CHUNK))
                    data = stream.unconsumed_tail
            whole.write(stream.flush())
        except zlib.error as error:
            raise PixelsError("its deflated data set is broken") from error
        yield whole


def _stored(file: IO[bytes], head: bytes, syntax_at: int, syntax: str) -> Stored:
    from pydicom.filereader import read_dataset

    began = file.tell()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            header = read_dataset(
                file,
                syntax == IMPLICIT,
                syntax != BIG_ENDIAN,
                stop_when=lambda tag, _vr, _length: tag in _PIXELS,
            )
    except Exception as error:
        raise PixelsError("its header cannot be read") from error
    if file.tell() == began:
        raise PixelsError("no pixel data")
    element = _pixel_element(file, syntax, implicit=bool(header.original_encoding[0]))
    meaning = _meaning(header, syntax, element.tag)
    if element.encapsulated:
        place = _encapsulated(file, element.value, meaning.frames, header)
    else:
        if element.words and meaning.is_big and meaning.allocated <= 8 and not meaning.is_float:
            raise PixelsError("samples of 8 bits in big endian words")
        meaning, place = _fitted(meaning, element.value), Place(element.value, encapsulated=False)
    return Stored(file, head, syntax_at, header, meaning, place)


@dataclass(frozen=True)
class _Element:
    """The element of the pixel data; `words`: its bytes stand in words of 16 bits."""

    tag: int
    value: Span
    words: bool
    encapsulated: bool


def _pixel_element(file: IO[bytes], syntax: str, *, implicit: bool) -> _Element:
    """The element of the pixel data that begins here."""
    order = ">" if syntax == BIG_ENDIAN else "<"
    raw = file.read(12)
    if len(raw) < 12:
        raise PixelsError("no pixel data")
    group, element = struct.unpack(f"{order}HH", raw[:4])
    if not implicit and raw[4:6] not in _LONG:
        raise PixelsError("pixel data of another value representation than OB and OW")
    (length,) = struct.unpack(f"{order}L", raw[4:8] if implicit else raw[8:12])
    start = file.tell() - (4 if implicit else 0)
    encapsulated = length == _UNDEFINED
    if syntax.startswith(_VIDEO):
        raise PixelsError("it is a video")
    if encapsulated == (syntax in UNCOMPRESSED):
        raise PixelsError("pixel data that does not fit its transfer syntax")
    size = file.seek(0, 2)
    if not encapsulated and start + length > size:
        raise PixelsError("the file ends within its pixel data")
    value = start, size if encapsulated else start + length
    return _Element(group << 16 | element, value, raw[4:6] == b"OW" and not implicit, encapsulated)


def _meaning(header: Any, syntax: str, tag: int) -> Meaning:
    try:
        rows, columns = int(header.Rows), int(header.Columns)
        frames = int(header.get("NumberOfFrames") or 1)
        allocated = _FLOATS.get(tag) or int(header.BitsAllocated)
        stored = allocated if tag in _FLOATS else int(header.get("BitsStored") or allocated)
        high = int(header.get("HighBit", stored - 1) if tag not in _FLOATS else stored - 1)
        meaning = Meaning(
            syntax=syntax,
            rows=rows,
            columns=columns,
            samples=int(header.get("SamplesPerPixel") or 1),
            frames=frames,
            photometric=str(header.get("PhotometricInterpretation") or "MONOCHROME2").strip(),
            by_plane=int(header.get("PlanarConfiguration") or 0) == 1,
            allocated=allocated,
            stored=stored,
            high=high,
            signed=int(header.get("PixelRepresentation") or 0) == 1,
            is_float=tag in _FLOATS,
            overlay_bits=_overlay_bits(header, stored, high),
            padding=_padding(header),
        )
    except (AttributeError, TypeError, ValueError) as error:
        raise PixelsError("the header does not tell what its pixels are") from error
    return _checked(meaning)


def _checked(meaning: Meaning) -> Meaning:
    bits = meaning.allocated
    if bits not in (1, 8, 16, 32, 64) or not 1 <= meaning.stored <= meaning.high + 1 <= bits:
        raise PixelsError("samples of a length that is not supported")
    if meaning.samples not in (1, 3) or min(meaning.rows, meaning.columns, meaning.frames) < 1:
        raise PixelsError("pixels of a form that is not supported")
    if bits == 1 and meaning.samples != 1:
        raise PixelsError("pixels of a form that is not supported")
    return meaning


def _overlay_bits(header: Any, stored: int, high: int) -> int:
    """The bits of a sample that may hold overlays (PS3.3 C.9.2), outside the stored bits."""
    used = ((1 << stored) - 1) << (high + 1 - stored)
    positions = [
        int(header[tag].value or 0) for group in overlay_groups(header) if (tag := (group, 0x0102)) in header
    ]
    return sum({1 << position for position in positions if position}) & ~used


def overlay_groups(header: Any) -> tuple[int, ...]:
    """The groups 60xx of which a header holds something: each one overlay."""
    return tuple(sorted({tag.group for tag in set(header.keys()) if tag.group & 0xFF01 == 0x6000}))


def _padding(header: Any) -> tuple[int, int] | None:
    """The stored values from one to the other that are no picture, where that is told."""
    found = [numbers(header, name)[:1] for name in ("PixelPaddingValue", "PixelPaddingRangeLimit")]
    values = sorted(value for each in found for value in each)
    return (values[0], values[-1]) if found[0] else None


def numbers(header: Any, name: str) -> tuple[int, ...]:
    """The 16 bit values of an element whose value representation the pixels decide (US or SS); none where it is absent.

    In implicit VR pydicom leaves them as bytes.
    """
    value = header.get(name)
    if isinstance(value, bytes):
        order = "<" if header.original_encoding[1] else ">"
        kind = "h" if header.get("PixelRepresentation") == 1 else "H"
        return struct.unpack(f"{order}{len(value) // 2}{kind}", value[: len(value) // 2 * 2])
    if isinstance(value, int):
        return (value,)
    return tuple(int(each) for each in value or ())


def _fitted(meaning: Meaning, value: Span) -> Meaning:
    """With what the length of a value says of shared colours, and of frames more than the header tells."""
    bits = (value[1] - value[0]) * 8
    if (
        meaning.samples == 3
        and meaning.photometric.endswith("422")
        and bits < meaning.frame_bits * meaning.frames
    ):
        meaning = replace(meaning, halved=True)
        if meaning.columns % 2 or meaning.allocated != 8:
            raise PixelsError("pixels of a form that is not supported")
    if bits < meaning.frame_bits * meaning.frames:
        raise PixelsError("the pixel data is shorter than the header tells")
    more = bits - meaning.frame_bits * meaning.frames
    # Whole frames behind the last one are pictures that the header does not tell.
    if more > 8 and more % meaning.frame_bits == 0:
        meaning = replace(meaning, frames=bits // meaning.frame_bits)
    return meaning


# --- encapsulated -------------------------------------------------------------------------------------------------


def _encapsulated(file: IO[bytes], value: Span, number: int, header: Any) -> Place:
    fragments, end = _items(file, *value)
    if len(fragments) < 2:
        raise PixelsError("no fragment")
    table, rest = fragments[0], fragments[1:]
    extended = tuple(_element_span(header, tag) for tag in (OFFSETS, LENGTHS) if header.get(tag))
    cuts = _cuts(file, rest, number, table, extended)
    if len(cuts) != number:
        raise PixelsError("fragments cannot be shared out over the frames")
    frames = tuple(tuple(rest[one:other]) for one, other in zip(cuts, [*cuts[1:], len(rest)], strict=True))
    return Place((value[0], end), True, table, frames, extended)


def _items(file: IO[bytes], pos: int, stop: int) -> tuple[list[Span], int]:
    """The values of all items, and the byte behind the last one."""
    spans: list[Span] = []
    while pos < stop:
        file.seek(pos)
        raw = file.read(ITEM_HEAD)
        if raw[:4] == _END:
            return spans, pos
        length = int.from_bytes(raw[4:], "little")
        if raw[:4] != _ITEM or pos + ITEM_HEAD + length > stop:
            break
        spans.append((pos + ITEM_HEAD, pos + ITEM_HEAD + length))
        pos += ITEM_HEAD + length
    raise PixelsError("the file ends within its pixel data")


def _element_span(header: Any, tag: int) -> Span:
    element = header[tag]
    return element.file_tell, element.file_tell + len(element.value)


def _cuts(
    file: IO[bytes], fragments: Sequence[Span], number: int, table: Span, extended: Sequence[Span]
) -> list[int]:
    """The fragment with which each frame begins: by their number, the offsets, or by how pictures begin."""
    if number == len(fragments):
        return list(range(number))
    if number == 1:
        return [0]
    span, width = (extended[0], 8) if extended else (table, 4)
    file.seek(span[0])
    raw = file.read((span[1] - span[0]) // width * width)
    offsets = struct.unpack(f"<{len(raw) // width}{'Q' if width == 8 else 'L'}", raw)
    places = {start - fragments[0][0]: at for at, (start, _) in enumerate(fragments)}
    if len(offsets) == number and set(offsets) <= places.keys():
        return sorted({places[offset] for offset in offsets})
    cuts = []
    for at, (start, _) in enumerate(fragments):
        file.seek(start)
        if at == 0 or file.read(16).startswith(_BEGINNINGS):
            cuts.append(at)
    return cuts
