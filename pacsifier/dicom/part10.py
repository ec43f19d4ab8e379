"""The bytes of a DICOM Part 10 file: raw elements, proof of wholeness, and small files of our own.

Knows the encodings of DICOM PS3.5 (sections 6, 7 and A) and the file format of PS3.10 (section 7), and no policy.
"""

from __future__ import annotations

import os
import struct
import zlib
from bisect import bisect_right
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pacsifier.dicom.text import decode_text

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
    from io import FileIO
    from os import PathLike
    from typing import Any, Protocol

    class Buffer(Protocol):
        """Bytes that are cut out by slices: bytes themselves, or a file read through a window."""

        def __len__(self) -> int: ...
        def __getitem__(self, part: slice, /) -> bytes: ...

    class Walk(Protocol):
        """A way through the elements of a data set."""

        def __call__(
            self, buf: Buffer, pos: int, coding: Coding, elements: list[Element], /
        ) -> Sequence[Element | Run]:
            """Adds each element from `pos` on to the list; returns them with runs in the place of some."""


Element = tuple[int, bytes, int, int, int, int]
"""Tag, VR (b"" where there is none), and where header, value, end of value and the next element lie."""

EXPLICIT_VR_LITTLE_ENDIAN = "1.2.840.10008.1.2.1"
IMPLICIT_VR_LITTLE_ENDIAN = "1.2.840.10008.1.2"
EXPLICIT_VR_BIG_ENDIAN = "1.2.840.10008.1.2.2"
_DEFLATED = frozenset(
    (
        "1.2.840.10008.1.2.1.99",  # Deflated Explicit VR Little Endian
        "1.2.840.10008.1.2.4.95",  # JPIP Referenced Deflate
        "1.2.840.10008.1.2.4.205",  # JPIP HTJ2K Referenced Deflate
    )
)

_TRANSFER_SYNTAX_UID = 0x00020010
CHARACTER_SETS = 0x00080005
_SOP_CLASS_UID = 0x00080016
_QUERY_RETRIEVE_LEVEL = 0x00080052
_ROWS = 0x00280010
_PIXEL_DATA_PROVIDER_URL = 0x00287FE0
_SPECTROSCOPY_DATA = 0x56000020
_FLOAT_PIXEL_DATA = 0x7FE00008  # the lowest tag of the three that hold pixels
PIXEL_GROUP, PIXEL_DATA = 0x7FE0, 0x7FE00010
_PIXELS_ELSEWHERE = (_QUERY_RETRIEVE_LEVEL, _PIXEL_DATA_PROVIDER_URL, _SPECTROSCOPY_DATA)
_NEEDED = frozenset((CHARACTER_SETS, _SOP_CLASS_UID, _ROWS, *_PIXELS_ELSEWHERE))
_RAW_DATA_STORAGE = b"1.2.840.10008.5.1.4.1.1.66"
_DICOM_ROOT = b"1.2.840.10008."

_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
_ITEM_GROUP = 0xFFFE
_ABSENT: Element = (0, b"", 0, 0, 0, 0)
_UNDEFINED = 0xFFFFFFFF
_DEEPEST = 512  # open sequences and items; real objects stay far below, hostile ones would fill the memory
_HEAD = 1 << 16  # a file up to this size is read at once, a larger one through a window
_WINDOW = 1 << 12
_CHUNK = 1 << 20
# Deflated images become 2 to 20 times as large; masks that are almost empty more, and stay small all the same.
_INFLATED_FLOOR, _INFLATED_RATIO = 1 << 28, 20
_KEPT = 1 << 23  # a data set up to this size stays inflated in memory
_MARKED = 1 << 22  # between two marks, each of some 40 kB
_MOST_RETURNS = 1000

# Bytes of the length field (PS3.5 section 7.1.2).
_LENGTH_BYTES = dict.fromkeys(
    b"AE AS AT CS DA DS DT FD FL IS LO LT PN SH SL SS ST TM UI UL US".split(), 2
) | dict.fromkeys(b"OB OD OF OL OV OW SQ SV UC UN UR UT UV".split(), 4)
STANDARD_VRS = frozenset(_LENGTH_BYTES)
_BLANK_VRS = (b"\0\0", b"  ", b"??", b"--")
_TEXT_VRS = frozenset(b"AE AS CS DA DS DT IS LO LT PN SH ST TM UC UR UT".split())


@dataclass(frozen=True)
class Dataset:
    """The wanted top-level elements of a data set, as raw bytes, and whether the data set is whole.

    A tag that is absent is absent from `values`; an empty value is b"". A value of undefined length runs to its
    Sequence Delimitation Item, exclusive. Numbers stand in the byte order of the transfer syntax. `defect` is ''
    when the data set is whole, else one short reason; `oversized`: it inflates to more than is read, so that nothing
    more is known of it. `character_sets` is the raw (0008,0005).
    """

    values: Mapping[int, bytes]
    character_sets: bytes
    defect: str
    oversized: bool

    @property
    def whole(self) -> bool:
        """True when the walk reached the last byte and nothing is missing."""
        return not self.defect

    def text(self, tag: int) -> str | None:
        """Return a wanted value as text without its padding, or None where the element is absent.

        Decoded by the data set's own SpecificCharacterSet; NULs and blanks at the end go, blanks at the beginning
        and backslashes stay (PS3.5 section 6.2).
        """
        raw = self.values.get(tag)
        return None if raw is None else decode_text(raw, self.character_sets).rstrip("\0 ")


@dataclass(frozen=True)
class Part10File(Dataset):
    """A Part 10 file: its data set (`values` may hold wanted meta elements too) and how it is stored.

    `dataset_offset` is the byte where the data set (or its deflated stream) begins, `size` the bytes of the file.
    `transfer_syntax` is '' where the file meta information has none. Without the DICM prefix `is_part10` is False
    and the file is never whole, but what can be read by guessing the encoding is in `values`.
    """

    is_part10: bool
    transfer_syntax: str
    dataset_offset: int
    size: int


def read(path: str | PathLike[str], wanted: Collection[int]) -> Part10File:
    """Read the wanted top-level elements (0xGGGGEEEE) of a file and prove its wholeness, in one pass.

    Whole means walked to the end: every declared length fits, every sequence and item of undefined length and
    encapsulated pixel data are closed, a deflated stream ends, and an image has its pixels (see `parse_dataset`).
    Any content has a result; values are skipped, not looked into, and no pixel data is read. Raises OSError
    when the file cannot be read. Source: DICOM PS3.10 section 7.1.
    """
    with open(path, "rb", buffering=0) as handle:  # noqa: PTH123 - importing pathlib costs more than reading
        buf = _buffer(handle)
        is_part10, meta, offset, defect = _meta(buf)
        transfer_syntax = meta.get(_TRANSFER_SYNTAX_UID, b"").strip(b"\0 ").decode("ascii", "replace")
        dataset = parse_dataset(buf, offset, transfer_syntax, wanted)
    return Part10File(
        values={**{tag: meta[tag] for tag in wanted if tag in meta}, **dataset.values},
        character_sets=dataset.character_sets,
        defect=defect or dataset.defect,
        oversized=dataset.oversized,
        is_part10=is_part10,
        transfer_syntax=transfer_syntax,
        dataset_offset=offset,
        size=len(buf),
    )


def parse_dataset(data: Buffer, offset: int, transfer_syntax: str, wanted: Collection[int]) -> Dataset:
    """Read the wanted top-level elements of the data set that begins at `offset` and runs to the end of `data`.

    Any content has a result; never raises. An unknown or empty transfer syntax means that the encoding is
    guessed from the first element; a syntax that speaks of explicit VR where VRs are missing, or the reverse, is
    corrected likewise. Where a tag stands twice the last one counts. Zeros behind the last element are padding.
    An image has its pixels: Rows above 0 demands an element from (7FE0,0008) on. Exempt are data sets with
    PixelDataProviderURL, SpectroscopyData or QueryRetrieveLevel (the identifier of a C-FIND), Raw Data Storage
    and private SOP classes. Source: DICOM PS3.5 sections 7 and A, PS3.3 section C.7.6.3.
    """
    defect, oversized = "", False
    if transfer_syntax in _DEFLATED:
        data, defect, oversized = _inflated(data, offset)
        offset = 0
    found: dict[int, bytes] = {}
    interesting = _NEEDED.union(wanted)
    highest = 0
    try:
        if offset >= len(data):
            raise BrokenError(f"no data set behind byte {len(data)}")
        for tag, _, _, start, stop, _ in elements_from(data, offset, _coding(data, offset, transfer_syntax)):
            if tag in interesting:
                found[tag] = data[start:stop]
                if len(found[tag]) != stop - start:
                    raise BrokenError(f"{_spelled(tag)} shrank while it was read")
            if tag > highest:  # noqa: PLR1730 - max() costs a tenth of the walk
                highest = tag
        if highest < _FLOAT_PIXEL_DATA and _pixels_expected(found):
            raise BrokenError(f"no pixel data behind {_spelled(highest)}")
    except BrokenError as broken:
        defect = defect or str(broken)
    values = {tag: found[tag] for tag in wanted if tag in found}
    return Dataset(values, found.get(CHARACTER_SETS, b""), defect, oversized)


@dataclass(frozen=True)
class Run:
    """Short public elements one behind the other; the character sets, pixels and undefined lengths are in none.

    `end` is the byte behind it, `highest` the highest of its tags.
    """

    whole: bytes
    elements: tuple[Element, ...]
    end: int
    tags: frozenset[int]
    highest: int


@dataclass(frozen=True)
class Layout:
    """Where every top-level element of a file lies, in order and by tag; positions count in `source`.

    `source` is the file itself, or the inflated data set of a deflated one (`deflated`); `offset` is the byte of the
    file where the data set, or its deflated stream, begins. `defect` is '' when the file is whole as `read` proves it;
    without the DICM prefix it is '' too where the data set alone is whole. `stretches` are the elements, with runs in
    the place of some where the reader was given a `Walk` that knows them.
    """

    is_part10: bool
    transfer_syntax: str
    meta: Mapping[int, bytes]
    coding: Coding
    elements: Sequence[Element]
    by_tag: Mapping[int, Element]
    source: Buffer
    deflated: bool
    defect: str
    offset: int
    stretches: Sequence[Element | Run]

    @property
    def end(self) -> int:
        """Where the last element ends; padding may follow. There must be an element."""
        return self.elements[-1][5]

    @property
    def is_compressed(self) -> bool:
        """Whether the pixel data is encapsulated: its length is undefined (PS3.5 section A.4)."""
        _, _, _, _, stop, after = self.by_tag.get(PIXEL_DATA, _ABSENT)
        return stop != after

    def value(self, tag: int) -> bytes | None:
        """The raw value of an element; None where there is none."""
        element = self.by_tag.get(tag)
        return self.source[element[3] : element[4]] if element else None


def layout(handle: FileIO, walk: Walk | None = None) -> Layout:
    """Find the raw top-level elements of an open file; reads no pixel data. Any content has a result.

    `walk` is another way through them, `Runs.walk`: what stood in the file before is not read again.
    """
    return layout_of(_buffer(handle), walk)


def layout_of(buf: Buffer, walk: Walk | None = None) -> Layout:
    """The same for the bytes of a file."""
    is_part10, meta, offset, defect = _meta(buf)
    transfer_syntax = meta.get(_TRANSFER_SYNTAX_UID, b"").strip(b"\0 ").decode("ascii", "replace")
    if not is_part10:
        defect = ""
    deflated = transfer_syntax in _DEFLATED
    begin = offset
    if deflated:
        buf, inflating, _ = _inflated(buf, offset)
        defect, offset = defect or inflating, 0
    elements: list[Element] = []
    stretches: Sequence[Element | Run] = elements
    by_tag: dict[int, Element] = {}
    coding = CODINGS[False, False]
    try:
        if offset >= len(buf):
            raise BrokenError(f"no data set behind byte {len(buf)}")
        coding = _coding(buf, offset, transfer_syntax)
        if walk is None:
            elements.extend(elements_from(buf, offset, coding))
        else:
            stretches = walk(buf, offset, coding, elements)
        by_tag = {each[0]: each for each in elements}
        found = {tag: buf[slice(*by_tag[tag][3:5])] for tag in _NEEDED if tag in by_tag}
        if max(by_tag, default=0) < _FLOAT_PIXEL_DATA and _pixels_expected(found):
            raise BrokenError("no pixel data")
    except BrokenError as broken:
        defect = defect or str(broken)
    return Layout(
        is_part10, transfer_syntax, meta, coding, elements, by_tag, buf, deflated, defect, begin, stretches
    )


def encode_element(tag: int, vr: str, value: bytes, coding: Coding) -> bytes:
    """Encode one element as `coding` asks; the value is padded to even length (NUL for UI and the binary VRs).

    Raises ValueError for an unknown VR, or a value too long for its VR. Source: DICOM PS3.5 section 7.1.
    """
    name = vr.encode()
    if len(value) % 2:
        value += b" " if name in _TEXT_VRS else b"\0"
    order = ">" if coding.big else "<"
    head = struct.pack(f"{order}HH", tag >> 16, tag & 0xFFFF)
    width = _LENGTH_BYTES.get(name)
    if width is None or len(value) > (0xFFFE if width == 2 and not coding.implicit else _UNDEFINED - 1):
        raise ValueError(f"{_spelled(tag)}: no VR {vr!r}, or {len(value)} bytes are too many for it")
    if coding.implicit:
        return head + struct.pack(f"{order}L", len(value)) + value
    return head + name + struct.pack(f"{order}H" if width == 2 else f"{order}2xL", len(value)) + value


def dataset_bytes_equal(path: str | PathLike[str], other: str | PathLike[str]) -> bool:
    """Tell whether two files hold the same data set in the same transfer syntax, byte for byte.

    Preamble and file meta information do not count. Compares in chunks of 1 MB; raises OSError.
    """
    with open(path, "rb", buffering=0) as one, open(other, "rb", buffering=0) as two:  # noqa: PTH123 - see read
        buf, twin = _buffer(one), _buffer(two)
        _, meta, offset, _ = _meta(buf)
        _, twin_meta, twin_offset, _ = _meta(twin)
        length = len(buf) - offset
        if length != len(twin) - twin_offset or meta.get(_TRANSFER_SYNTAX_UID) != twin_meta.get(
            _TRANSFER_SYNTAX_UID
        ):
            return False
        return all(
            buf[offset + at : offset + at + _CHUNK] == twin[twin_offset + at : twin_offset + at + _CHUNK]
            for at in range(0, length, _CHUNK)
        )


def encode(elements: Sequence[tuple[int, str, bytes]]) -> bytes:
    """Encode (tag, VR, raw value) as a minimal Part 10 file in Explicit VR Little Endian.

    Elements are sorted by tag, and encoded as `encode_element` does. Meant for the identifiers that findscu and
    movescu read: the meta group holds its length and the transfer syntax only. Raises ValueError for a tag outside
    the data set, a tag given twice, an unknown VR, or a value too long for its VR. Source: DICOM PS3.5 section
    7.1.2, PS3.10 section 7.1.
    """
    tags = [tag for tag, _, _ in elements]
    if len(set(tags)) != len(tags) or not all(0x00030000 <= tag < _ITEM_GROUP << 16 for tag in tags):
        raise ValueError("a tag stands twice or is no tag of a data set")
    name = EXPLICIT_VR_LITTLE_ENDIAN.encode()
    syntax = encode_element(_TRANSFER_SYNTAX_UID, "UI", name, _EXPLICIT_LITTLE)
    length = encode_element(0x00020000, "UL", struct.pack("<L", len(syntax)), _EXPLICIT_LITTLE)
    body = b"".join(encode_element(*element, _EXPLICIT_LITTLE) for element in sorted(elements))
    return bytes(128) + b"DICM" + length + syntax + body


def end_of_undefined(data: Buffer, start: int, vr: bytes, coding: Coding) -> int:
    """The byte behind the Sequence Delimitation Item of the value of undefined length at start; raises BrokenError."""
    return _walked(data, start, _content_coding(vr, coding))


class BrokenError(Exception):
    """The bytes end or contradict themselves; the text is the defect."""


class _FileBytes:
    """The bytes of a large file, read where they are asked for, through a small window.

    Not mmap: a file that shrinks or a disk that fails under the walk would end the process by SIGBUS.
    """

    def __init__(self, handle: FileIO, head: bytes, size: int) -> None:
        self._handle, self._size, self.head = handle, size, head
        self._window, self._start = b"", 0

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, part: slice, /) -> bytes:
        if part.stop <= len(self.head):
            return self.head[part]
        start, stop = part.start - self._start, part.stop - self._start
        if start >= 0 and stop <= len(self._window):
            return self._window[start:stop]
        self._handle.seek(part.start)
        if part.stop - part.start > _WINDOW:
            return self._handle.read(part.stop - part.start)
        self._window, self._start = self._handle.read(_WINDOW), part.start
        return self._window[: part.stop - part.start]


class Coding:
    """How element headers are packed: VR explicit or implicit, byte order, and the unpackers for them."""

    __slots__ = (
        *("big", "implicit", "unpack_explicit", "unpack_implicit", "unpack_length"),
        *("unpack_explicit_from", "unpack_length_from"),
    )

    def __init__(self, implicit: bool, big: bool) -> None:
        order = ">" if big else "<"
        self.implicit, self.big = implicit, big
        self.unpack_implicit: Callable[[bytes], tuple[Any, ...]] = struct.Struct(f"{order}HHL").unpack
        self.unpack_explicit: Callable[[bytes], tuple[Any, ...]] = struct.Struct(f"{order}HH2sH").unpack
        self.unpack_length: Callable[[bytes], tuple[Any, ...]] = struct.Struct(f"{order}L").unpack
        self.unpack_explicit_from: Callable[[bytes, int], tuple[Any, ...]]
        self.unpack_explicit_from = struct.Struct(f"{order}HH2sH").unpack_from
        self.unpack_length_from: Callable[[bytes, int], tuple[Any, ...]]
        self.unpack_length_from = struct.Struct(f"{order}L").unpack_from


CODINGS = {(implicit, big): Coding(implicit, big) for implicit in (False, True) for big in (False, True)}
_EXPLICIT_LITTLE, IMPLICIT_LITTLE = CODINGS[False, False], CODINGS[True, False]


def _buffer(handle: FileIO) -> Buffer:
    """The bytes of an open file; small files are read at once."""
    head = handle.read(_HEAD)
    size = os.fstat(handle.fileno()).st_size if len(head) == _HEAD else len(head)
    return head if size <= len(head) else _FileBytes(handle, head, size)


def _meta(buf: Buffer) -> tuple[bool, dict[int, bytes], int, str]:
    """Walk the file meta information: has it the prefix, its values, where the data set begins, the defect.

    Group 0002 is walked by its tags, for its length is often wrong or missing.
    """
    is_part10 = buf[128:132] == b"DICM"
    pos = 132 if is_part10 else 0
    values: dict[int, bytes] = {}
    defect = "" if is_part10 else "no DICM prefix"
    try:
        coding = _settled(buf, pos, _EXPLICIT_LITTLE)
        for tag, _, _, start, stop, after in elements_from(buf, pos, coding, group=b"\2\0"):
            values[tag] = buf[start:stop]
            pos = after
    except BrokenError as broken:
        defect = defect or f"{broken} of the file meta information"
        pos = len(buf)
    return is_part10, values, pos, defect


def in_memory(buf: Buffer) -> bytes:
    """The first bytes of a file, or all of them, which are at hand."""
    return buf if isinstance(buf, bytes) else getattr(buf, "head", b"")


def elements_from(buf: Buffer, pos: int, coding: Coding, group: bytes = b"") -> Iterator[Element]:
    """Each top-level element from pos.

    Goes to the end of the data, or while elements begin with the two bytes of `group`. Raises BrokenError.
    """
    size = len(buf)
    head = b"" if coding.implicit else in_memory(buf)
    limit, width_of = len(head) - 12, _LENGTH_BYTES.get
    unpack, unpack_length = coding.unpack_explicit_from, coding.unpack_length_from
    while size - pos >= 8 and (not group or buf[pos : pos + 2] == group):
        width = None
        if pos <= limit:  # what `header` does, where no window has to be moved and nothing is odd
            tag_group, tag_element, vr, length = unpack(head, pos)
            width = width_of(vr)
            tag, start = tag_group << 16 | tag_element, pos + 8
            if width == 4:
                (length,) = unpack_length(head, start)
                start += 4
        if width is None:
            tag, vr, start, length = header(buf, pos, coding)
        stop = after = start + length
        if not tag:
            break
        if tag >> 16 == _ITEM_GROUP:
            raise BrokenError(f"stray {_spelled(tag)} at byte {pos}")
        if length == _UNDEFINED:
            after = _closed(buf, start, coding, tag, vr)
            stop = after - 8
        elif stop > size:
            raise BrokenError(f"cut at byte {size} in {_spelled(tag)}")
        yield tag, vr, pos, start, stop, after
        pos = after
    # An odd byte is the first half of a tag: in big endian, and for groups like 0400, that byte is a zero.
    if not group and ((size % 2 and pos % 2 == 0 and pos < size) or not _is_zero(buf, pos)):
        raise BrokenError(f"cut at byte {size}, or no element at byte {pos}")


def header(buf: Buffer, pos: int, coding: Coding) -> tuple[int, bytes, int, int]:
    """Unpack the element header at pos: tag, VR (b"" where there is none), start and length of its value."""
    head = buf[pos : pos + 8]
    if len(head) != 8:
        raise BrokenError(f"cut at byte {len(buf)}")
    if not coding.implicit:
        group, element, vr, length = coding.unpack_explicit(head)
        width = _LENGTH_BYTES.get(vr)
        if width == 2:
            return group << 16 | element, vr, pos + 8, length
        if width == 4:
            field = buf[pos + 8 : pos + 12]
            if len(field) != 4:
                raise BrokenError(f"cut at byte {len(buf)}")
            return group << 16 | element, vr, pos + 12, coding.unpack_length(field)[0]
        if group != _ITEM_GROUP and (group or element):
            return _header_of_odd_vr(buf, pos, coding)
    group, element, length = coding.unpack_implicit(head)
    return group << 16 | element, b"", pos + 8, length


def _header_of_odd_vr(buf: Buffer, pos: int, coding: Coding) -> tuple[int, bytes, int, int]:
    """Unpack a header whose VR is none of the standard's, by the length behind which the walk can go on.

    Two capitals may be a writer's own VR (16 bits by habit) or one of the future (32 bits, PS3.5 section 7.1.2);
    anything else is an element written without VR, or with a blank one.
    """
    head = buf[pos : pos + 8]
    group, element, vr, short = coding.unpack_explicit(head)
    tag = group << 16 | element
    readings = [(vr, pos + 8, short)] if _is_capitals(vr) or vr in _BLANK_VRS else []
    if readings and len(field := buf[pos + 8 : pos + 12]) == 4:
        readings.append((vr, pos + 12, coding.unpack_length(field)[0]))
    readings.insert(2 if _is_capitals(vr) else 0, (b"", pos + 8, coding.unpack_implicit(head)[2]))
    for odd_vr, start, length in readings:
        if _goes_on(buf, tag, start, length, coding):
            return tag, odd_vr, start, length
    return tag, *readings[0]


def _goes_on(buf: Buffer, tag: int, start: int, length: int, coding: Coding) -> bool:
    """Whether the end of the data, or a higher tag, follows a value."""
    after = start if length == _UNDEFINED else start + length
    head = buf[after : after + 8]
    if len(head) != 8:
        return after == len(buf)
    group, element, _ = coding.unpack_implicit(head)
    return bool(group << 16 | element > tag)


def _closed(buf: Buffer, pos: int, coding: Coding, tag: int, vr: bytes) -> int:
    """The byte behind the Sequence Delimitation Item that closes the value of undefined length at pos."""
    try:
        return _walked(buf, pos, _content_coding(vr, coding))
    except BrokenError as broken:
        raise BrokenError(f"{broken} in {_spelled(tag)}") from None


def _walked(buf: Buffer, pos: int, coding: Coding) -> int:
    """Walk the items from pos to the Sequence Delimitation Item, and behind it.

    Keeps its own stack of open sequences and items, for the sender chooses how deep they nest. The fragments of
    encapsulated pixel data are items too.
    """
    levels = [(coding, False)]
    while levels:
        coding, is_item = levels[-1]
        tag, vr, start, length = header(buf, pos, coding)
        pos = start
        if tag == (_ITEM_END if is_item else _SEQUENCE_END):
            levels.pop()
        elif not tag or (tag >> 16 == _ITEM_GROUP if is_item else tag != _ITEM):
            raise BrokenError(f"no {'element' if is_item else 'item'} at byte {start - 8}")
        elif length != _UNDEFINED:
            pos = start + length
        elif len(levels) >= _DEEPEST:
            raise BrokenError(f"nested deeper than {_DEEPEST} at byte {start - 8}")
        elif is_item:
            levels.append((_content_coding(vr, coding), False))
        else:
            levels.append((_settled(buf, pos, coding), True))
    return pos


def _content_coding(vr: bytes, coding: Coding) -> Coding:
    """The coding inside a value of undefined length: UN holds Implicit VR Little Endian (PS3.5 section 6.2.2)."""
    return IMPLICIT_LITTLE if vr == b"UN" else coding


def _coding(buf: Buffer, pos: int, transfer_syntax: str) -> Coding:
    """The coding of a data set by its transfer syntax, or by its first bytes where that says nothing."""
    if transfer_syntax:
        big = transfer_syntax == EXPLICIT_VR_BIG_ENDIAN
    else:
        group = buf[pos : pos + 2]
        big = group[:1] == b"\0" and group != b"\0\0"
    return _settled(buf, pos, CODINGS[transfer_syntax == IMPLICIT_VR_LITTLE_ENDIAN, big])


def _settled(buf: Buffer, pos: int, coding: Coding) -> Coding:
    """The coding that the data set or item at pos really has: some writers switch implicit and explicit VR."""
    head = buf[pos : pos + 8]
    if len(head) != 8:
        return coding
    group, element, length = coding.unpack_implicit(head)
    vr = head[4:6]
    if group == _ITEM_GROUP or (vr in _LENGTH_BYTES) != coding.implicit:
        return coding
    reads_as_implicit = _goes_on(buf, group << 16 | element, pos + 8, length, coding)
    if coding.implicit is reads_as_implicit or (_is_capitals(vr) and not coding.implicit):
        return coding
    return CODINGS[not coding.implicit, coding.big]


def _is_capitals(vr: bytes) -> bool:
    return vr.isalpha() and vr.isupper()


def _inflated(buf: Buffer, pos: int) -> tuple[Buffer, str, bool]:
    """Inflate the data set of a deflated transfer syntax (PS3.5 section A.5); its bytes, the defect, and `oversized`.

    Walks the whole stream in pieces and keeps no more than _KEPT bytes: a few bytes of a hostile sender become
    gigabytes. Of a larger one only marks are kept, from which it is inflated again where it is read.
    """
    most = _INFLATED_FLOOR + _INFLATED_RATIO * (len(buf) - pos)
    now = _Inflation(buf, pos)
    marks, kept, checksum, defect = [now.copy()], bytearray(), 0, ""
    try:
        while piece := now.piece():
            checksum = zlib.crc32(piece, checksum)
            if now.done <= _KEPT:
                kept += piece
            if now.done - marks[-1].done >= _MARKED:
                marks.append(now.copy())
            if now.done > most:
                raise BrokenError(f"inflates beyond {most >> 20} MB")
    except BrokenError as broken:
        defect = str(broken)
    pos = now.end
    # Some writers leave the trailer of gzip behind the stream.
    if buf[pos : pos + 8] == struct.pack("<LL", checksum, now.done & 0xFFFFFFFF):
        pos += 8
    if not defect and not _is_zero(buf, pos):
        defect = f"more than zeros behind the deflated stream at byte {pos}"
    # Of a broken one the beginning says whose it is.
    data = bytes(kept) if defect or now.done <= _KEPT else _InflatedBytes(marks, now.done)
    return data, defect, now.done > most


class _Inflation:
    """One way through a deflated stream; `done` is how many bytes have come out."""

    __slots__ = ("_buf", "_pos", "_stream", "done")

    def __init__(self, buf: Buffer, pos: int, stream: Any = None, done: int = 0) -> None:
        self._buf, self._pos, self.done = buf, pos, done
        self._stream = stream or zlib.decompressobj(-zlib.MAX_WBITS)

    def copy(self) -> _Inflation:
        return _Inflation(self._buf, self._pos, self._stream.copy(), self.done)

    @property
    def end(self) -> int:
        """The byte behind the stream, once it has ended."""
        return self._pos - len(self._stream.unused_data)

    def piece(self) -> bytes:
        """The next bytes, 1 MB at most; b"" at the end of the stream. Raises BrokenError."""
        while not self._stream.eof:
            deflated = self._stream.unconsumed_tail
            if not deflated:
                deflated = self._buf[self._pos : self._pos + _HEAD]
                self._pos += len(deflated)
            try:
                piece: bytes = self._stream.decompress(deflated, _CHUNK)
            except zlib.error as error:
                raise BrokenError(f"deflated stream broken: {error}") from None
            if piece:
                self.done += len(piece)
                return piece
            if not deflated:
                raise BrokenError(f"deflated stream cut at byte {len(self._buf)}")
        return b""


class _InflatedBytes:
    """The bytes of a large deflated data set, inflated where they are asked for, through a window of one piece.

    Whoever goes back begins at the mark before; to go back time and again is what hostile data sets ask for.
    """

    def __init__(self, marks: Sequence[_Inflation], size: int) -> None:
        self._marks, self._size = marks, size
        self._window, self._start, self._now = b"", 0, marks[0].copy()
        self._returns = 0

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, part: slice, /) -> bytes:
        begin, stop = part.start, min(part.stop, self._size)
        if begin >= self._start and stop <= self._start + len(self._window):
            return self._window[begin - self._start : stop - self._start]
        self._go_to(begin)
        pieces = []
        while True:
            pieces.append(self._window[max(0, begin - self._start) : max(0, stop - self._start)])
            self._start += len(self._window)
            if self._start >= stop:
                break
            self._window = self._now.piece()
            if not self._window:
                break
        self._start -= len(self._window)
        return b"".join(pieces)

    def _go_to(self, begin: int) -> None:
        """Takes the last mark before a byte, where the window does not lie nearer."""
        mark = self._marks[bisect_right(self._marks, begin, key=lambda mark: mark.done) - 1]
        if self._start <= begin and mark.done <= self._now.done:
            return
        self._returns += begin < self._start
        if self._returns > _MOST_RETURNS:
            raise BrokenError("lengths that lead to and fro in the deflated data set")
        self._window, self._start, self._now = b"", mark.done, mark.copy()


def _is_zero(buf: Buffer, pos: int) -> bool:
    """Whether nothing but zeros stand from pos to the end."""
    return not any(buf[at : at + _CHUNK].strip(b"\0") for at in range(pos, len(buf), _CHUNK))


def _pixels_expected(found: Mapping[int, bytes]) -> bool:
    """Whether the data set is an image that must have pixel data; `parse_dataset` names the rule."""
    if not any(found.get(_ROWS, b"")) or any(tag in found for tag in _PIXELS_ELSEWHERE):
        return False
    sop_class = found.get(_SOP_CLASS_UID, b"").strip(b"\0 ")
    return not sop_class or (sop_class.startswith(_DICOM_ROOT) and sop_class != _RAW_DATA_STORAGE)


def _spelled(tag: int) -> str:
    return f"({tag >> 16:04X},{tag & 0xFFFF:04X})"
