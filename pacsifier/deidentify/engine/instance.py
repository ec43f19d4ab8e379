"""One instance in, one instance out; knows no folders.

read -> find the raw elements -> decide about each, at every depth -> new file meta information, marks, and the pixel
data byte for byte. Source: DICOM PS3.15 section E.1, PS3.10 section 7.1.
"""

from __future__ import annotations

import os
import zlib
from dataclasses import dataclass
from functools import lru_cache
from io import FileIO
from pathlib import Path

from pacsifier import __version__
from pacsifier.deidentify.engine import elements
from pacsifier.deidentify.engine.elements import Bystander, Scope, UnknownEncodingError
from pacsifier.deidentify.engine.profile import Options, codes, method
from pacsifier.deidentify.engine.rules import Rules
from pacsifier.dicom import part10
from pacsifier.dicom.part10 import Coding, Layout
from pacsifier.dicom.splice import FILE_RANGE, Piece, Range, UnreadableError, copy_range, write_all
from pacsifier.query import is_uid

_SOP_CLASS, _SOP_INSTANCE = 0x00080016, 0x00080018
_REMOVED, _METHOD, _CODES, _LONGITUDINAL = 0x00120062, 0x00120063, 0x00120064, 0x00280303
_MARKS = frozenset((_REMOVED, _METHOD, _CODES, _LONGITUDINAL))
_OURS = "2.25.271337930462613457817297342384711870273"
_LONGITUDINAL_ORDER = ("", "UNMODIFIED", "MODIFIED", "REMOVED")
_PREAMBLE = bytes(128) + b"DICM"
_CHUNK = 1 << 20
_TOLD_OF_PIXELS = 1 << 14
_BITS_ALLOCATED, _BITS_STORED, _HIGH_BIT, _PIXEL_DATA = 0x00280100, 0x00280101, 0x00280102, 0x7FE00010


@dataclass(frozen=True)
class Done:
    """What one instance came to; `changes` are kinds and tags in the order met, never values."""

    sop_instance_uid: str
    changes: tuple[tuple[str, int], ...]
    by_pydicom: bool
    bytes: int


def deidentify(
    source: str | Path,
    target: str | Path,
    rules: Rules,
    *,
    identity_removed: bool = True,
    plain: bool = False,
) -> Done:
    """Write the de-identified instance of `source` to `target`, which must not exist; the source is only read.

    `identity_removed` says whether the mark may claim it. `plain` takes pydicom's way from the start. Raises
    UnreadableError where the file is no whole DICOM instance, and OSError.
    """
    with FileIO(source) as handle:
        layout = opened(handle)
        rules.start(_text(layout, _SOP_CLASS))
        marks = _marks(layout, rules, identity_removed)
        pieces, by_pydicom = _pieces(layout, rules, marks, plain)
        uids = _text(layout, _SOP_CLASS), rules.new_uid(_text(layout, _SOP_INSTANCE))
        if rules.options.retain_uids:
            uids = uids[0], _text(layout, _SOP_INSTANCE)
        _refuse_names_in_pixels(layout, rules)
        head = _file_meta(*uids, _true_syntax(layout))
        size = _write(target, head, _with_overlay_masked(layout, pieces), layout, handle)
    return Done(uids[1], tuple(rules.changes), by_pydicom, size)


def opened(handle: FileIO) -> Layout:
    """The layout of a whole instance; raises UnreadableError for anything else."""
    layout = part10.layout(handle)
    if not layout.is_part10 and not {_SOP_CLASS, _SOP_INSTANCE} <= layout.by_tag.keys():
        raise UnreadableError("not DICOM")
    if layout.transfer_syntax and not is_uid(layout.transfer_syntax):
        raise UnreadableError("its transfer syntax is no UID")
    if layout.defect:
        raise UnreadableError(f"not whole: {layout.defect}")
    if not (is_uid(_text(layout, _SOP_CLASS)) and _text(layout, _SOP_INSTANCE)):
        raise UnreadableError("no SOP Class UID or SOP Instance UID (a DICOMDIR, or no instance)")
    return layout


def _pieces(
    layout: Layout, rules: Rules, marks: list[tuple[int, bytes]], plain: bool
) -> tuple[list[Piece], bool]:
    if not plain:
        try:
            return elements.rewrite(layout, rules, marks), False
        except UnknownEncodingError:
            rules.start(_text(layout, _SOP_CLASS))
    from pacsifier.deidentify.engine import reference

    try:
        return reference.rewrite(layout, rules, marks), True
    except UnknownEncodingError as error:
        raise UnreadableError(f"not understood: {error}") from error


def _value(layout: Layout, tag: int) -> bytes | None:
    element = layout.by_tag.get(tag)
    return layout.source[element[3] : element[4]] if element else None


def _text(layout: Layout, tag: int) -> str:
    return (_value(layout, tag) or b"").decode("latin_1").strip("\0 ")


# --- marks ----------------------------------------------------------------------------------------------------


def _marks(layout: Layout, rules: Rules, identity_removed: bool) -> list[tuple[int, bytes]]:
    """The four marks, encoded; what an earlier de-identification claimed is never weakened."""
    options, coding = rules.options, layout.coding
    if layout.by_tag.keys().isdisjoint(_MARKS):
        return list(_fresh_marks(options, coding, identity_removed))
    values = {tag: _value(layout, tag) or b"" for tag in _MARKS}
    removed = identity_removed or values[_REMOVED].strip(b"\0 ") == b"YES"
    return _encoded_marks(
        removed,
        _methods(values[_METHOD], rules),
        _code_items(values[_CODES], rules, coding),
        _longitudinal(values[_LONGITUDINAL], options),
        coding,
    )


@lru_cache(maxsize=64)
def _fresh_marks(options: Options, coding: Coding, identity_removed: bool) -> tuple[tuple[int, bytes], ...]:
    """The marks of a file that had none."""
    methods = "\\".join(method(options)).encode()
    items = b"".join(_code_item(code, meaning, coding) for code, meaning in codes(options))
    return tuple(_encoded_marks(identity_removed, methods, items, _longitudinal(b"", options), coding))


def _encoded_marks(
    removed: bool, methods: bytes, items: bytes, longitudinal: bytes, coding: Coding
) -> list[tuple[int, bytes]]:
    values = (
        (_REMOVED, "CS", b"YES" if removed else b"NO"),
        (_METHOD, "LO", methods),
        (_CODES, "SQ", items),
        (_LONGITUDINAL, "CS", longitudinal),
    )
    return [(tag, part10.encode_element(tag, vr, value, coding)) for tag, vr, value in values]


def _methods(existing: bytes, rules: Rules) -> bytes:
    checked = rules.value(_METHOD, "LO", existing, Scope(0, b"")) or b""
    kept = [value.strip(b"\0 ") for value in checked.split(b"\\") if value.strip(b"\0 ")]
    ours = [value.encode() for value in method(rules.options)]
    return b"\\".join(dict.fromkeys(kept + ours))


def _code_items(existing: bytes, rules: Rules, coding: Coding) -> bytes:
    """The code items that are there, then ours that are not."""
    found = _FoundCodes()
    kept = b""
    if existing:
        try:
            elements.rewrite_items(existing, coding, _CODES, found, Scope(0, b""))
            kept = elements.rewrite_items(existing, coding, _CODES, rules, Scope(0, b""))
        except UnknownEncodingError:
            kept = b""
    fresh = [
        _code_item(code, meaning, coding) for code, meaning in codes(rules.options) if code not in found.codes
    ]
    return kept + b"".join(fresh)


class _FoundCodes(Bystander):
    """Collects the code values of a sequence of codes."""

    def __init__(self) -> None:
        self.codes: set[str] = set()

    def value(self, tag: int, vr: str, raw: bytes, scope: Scope) -> bytes | None:
        """Remembers a code value."""
        if tag == 0x00080100:
            self.codes.add(raw.decode("latin_1").strip(" \0"))
        return super().value(tag, vr, raw, scope)


def _code_item(code: str, meaning: str, coding: Coding) -> bytes:
    content = b"".join(
        part10.encode_element(tag, vr, value.encode(), coding)
        for tag, vr, value in (
            (0x00080100, "SH", code),
            (0x00080102, "SH", "DCM"),
            (0x00080104, "LO", meaning),
        )
    )
    order = "big" if coding.big else "little"
    item = (0xFFFE).to_bytes(2, order) + (0xE000).to_bytes(2, order)  # type: ignore[arg-type]
    return item + len(content).to_bytes(4, order) + content  # type: ignore[arg-type]


def _longitudinal(existing: bytes, options: Options) -> bytes:
    """What is true of the study's dates now."""
    kept = "REMOVED" if options.basic else "UNMODIFIED"
    ours = "MODIFIED" if options.fuzz_dates else kept
    there = existing.decode("latin_1").strip("\0 ")
    there = there if there in _LONGITUDINAL_ORDER else ""
    return max(ours, there, key=_LONGITUDINAL_ORDER.index).encode()


# --- file meta information --------------------------------------------------------------------------------------


def _true_syntax(layout: Layout) -> str:
    """The transfer syntax that the data set really has; what a compressed one says of its pixels stays."""
    syntax, coding = layout.transfer_syntax, layout.coding
    plain = (
        part10.IMPLICIT_VR_LITTLE_ENDIAN,
        part10.EXPLICIT_VR_LITTLE_ENDIAN,
        part10.EXPLICIT_VR_BIG_ENDIAN,
    )
    if syntax and syntax not in plain:
        return syntax
    if coding.implicit:
        return part10.IMPLICIT_VR_LITTLE_ENDIAN
    return part10.EXPLICIT_VR_BIG_ENDIAN if coding.big else part10.EXPLICIT_VR_LITTLE_ENDIAN


def _file_meta(sop_class: str, sop_instance: str, syntax: str) -> bytes:
    """Preamble of zeros, prefix, and a file meta information that holds nothing of the input's."""
    before, after = _meta_of_class(sop_class, syntax)
    group = before + _meta_element(0x00020003, "UI", sop_instance.encode("latin_1")) + after
    return _PREAMBLE + _meta_element(0x00020000, "UL", len(group).to_bytes(4, "little")) + group


@lru_cache(maxsize=64)
def _meta_of_class(sop_class: str, syntax: str) -> tuple[bytes, bytes]:
    """What stands before and behind the UID of the instance."""
    before = _meta_element(0x00020001, "OB", b"\0\1") + _meta_element(
        0x00020002, "UI", sop_class.encode("latin_1")
    )
    version = f"PACSIFIER_{__version__.partition('.dev')[0]}"[:16]
    after = _meta_element(0x00020010, "UI", syntax.encode("latin_1"))
    after += _meta_element(0x00020012, "UI", _OURS.encode()) + _meta_element(
        0x00020013, "SH", version.encode()
    )
    return before, after


def _meta_element(tag: int, vr: str, value: bytes) -> bytes:
    return part10.encode_element(tag, vr, value, part10.CODINGS[False, False])


# --- overlays in the pixel data ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class MaskedRange:
    """Pixel bytes that go over with some bits cleared; `masks` are those to keep, a byte of a sample each."""

    start: int
    stop: int
    masks: tuple[int, ...]


def overlay_in_pixels(layout: Layout) -> int:
    """The bits of a sample that hold overlays (PS3.3 C.9.2), outside the stored bits; 0 where there are none."""
    tags = [tag for tag in layout.by_tag if tag & 0xFF01FFFF == 0x60000102]
    positions = [number for tag in tags if (number := _number(layout, tag))]
    if not positions:
        return 0
    high, stored = _number(layout, _HIGH_BIT), _number(layout, _BITS_STORED)
    used = ((1 << stored) - 1) << max(high + 1 - stored, 0)
    return sum({1 << position for position in positions}) & ~used


def _number(layout: Layout, tag: int) -> int:
    raw = _value(layout, tag) or b""
    return int.from_bytes(raw[:2], "big" if layout.coding.big else "little")


def _with_overlay_masked(layout: Layout, pieces: list[Piece]) -> list[Piece | MaskedRange]:
    out: list[Piece | MaskedRange] = list(pieces)
    bits = overlay_in_pixels(layout)
    pixels = layout.by_tag.get(_PIXEL_DATA)
    if not bits or pixels is None:
        return out
    _, _, _, start, stop, after = pixels
    if after != stop:
        raise UnreadableError("overlay inside compressed pixel data")
    width = _number(layout, _BITS_ALLOCATED) // 8
    keep = tuple((~bits & (1 << 8 * width) - 1).to_bytes(width, "big" if layout.coding.big else "little"))
    for number, piece in enumerate(pieces):
        if isinstance(piece, Range) and piece.start <= start and stop <= piece.stop:
            out[number : number + 1] = [
                Range(piece.start, start),
                MaskedRange(start, stop, keep),
                Range(stop, piece.stop),
            ]
    return out


def _refuse_names_in_pixels(layout: Layout, rules: Rules) -> None:
    """Compressed pixels begin with what their writer tells of them (JPEG's comments, Exif): it must name nobody."""
    _, _, _, start, stop, after = layout.by_tag.get(_PIXEL_DATA, (0, b"", 0, 0, 0, 0))
    if after != stop and rules.names_somebody(layout.source[start : min(start + _TOLD_OF_PIXELS, stop)]):
        raise UnreadableError("a known identifier stands inside compressed pixel data")


# --- writing ----------------------------------------------------------------------------------------------------


def _write(
    target: str | Path, head: bytes, pieces: list[Piece | MaskedRange], layout: Layout, handle: FileIO
) -> int:
    """Writes all pieces to a new file; returns its size."""
    if layout.deflated:
        return _write_deflated(target, head, pieces, layout)
    descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o660)
    try:
        waiting = [head]
        size = 0
        for piece in pieces:
            if isinstance(piece, Range) and piece.stop - piece.start < FILE_RANGE:
                piece = layout.source[piece.start : piece.stop]  # noqa: PLW2901
            if isinstance(piece, bytes):
                waiting.append(piece)
                continue
            size += write_all(descriptor, b"".join(waiting))
            waiting = []
            if isinstance(piece, Range):
                size += copy_range(handle.fileno(), descriptor, piece)
            else:
                size += _copy_masked(handle.fileno(), descriptor, piece)
        return size + write_all(descriptor, b"".join(waiting))
    finally:
        os.close(descriptor)


def _copy_masked(source: int, target: int, piece: MaskedRange) -> int:
    tables = [bytes(value & mask for value in range(256)) for mask in piece.masks]
    width = len(tables)
    for at in range(piece.start, piece.stop, _CHUNK):
        chunk = bytearray(os.pread(source, min(_CHUNK, piece.stop - at), at))
        for number, table in enumerate(tables):
            chunk[number::width] = chunk[number::width].translate(table)
        write_all(target, bytes(chunk))
    return piece.stop - piece.start


def _write_deflated(
    target: str | Path, head: bytes, pieces: list[Piece | MaskedRange], layout: Layout
) -> int:
    stream = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    out = [head]
    for piece in pieces:
        if isinstance(piece, MaskedRange):
            raise UnreadableError("overlay inside deflated pixel data")
        out.append(
            stream.compress(layout.source[piece.start : piece.stop] if isinstance(piece, Range) else piece)
        )
    out.append(stream.flush())
    deflated = b"".join(out)
    descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o660)
    try:
        return write_all(descriptor, deflated + b"\0" * (len(deflated) % 2))
    finally:
        os.close(descriptor)
