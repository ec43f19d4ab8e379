"""Rewrites a data set with pydicom's parser and writer: what `elements` is tested against, and its fallback."""

from __future__ import annotations

from io import BytesIO
from typing import Any

from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filereader import read_dataset, read_sequence
from pydicom.filewriter import write_dataset, write_sequence_item
from pydicom.tag import Tag

from pacsifier.deidentify.engine import concepts
from pacsifier.deidentify.engine.concepts import CODE_MEANING, CODE_VALUES, CODING_SCHEME
from pacsifier.deidentify.engine.elements import (
    ITEM_BYTES,
    LARGE,
    Scope,
    UnknownEncodingError,
    Visitor,
    are_items,
    vr_of,
)
from pacsifier.dicom import part10
from pacsifier.dicom.part10 import PIXEL_GROUP
from pacsifier.dicom.splice import Piece, Range
from pacsifier.dicom.text import decode_text


def rewrite(layout: part10.Layout, visitor: Visitor, added: list[tuple[int, bytes]]) -> list[Piece]:
    """Does what `elements.rewrite` does, with pydicom; pixel data and other large values stay ranges.

    Raises UnknownEncodingError where pydicom does not understand the data set either.
    """
    scope = Scope(0, b"", big=layout.coding.big)
    pieces: list[Piece] = []
    waiting = list(added)
    try:
        for section, last in _sections(layout):
            if isinstance(section, Range):
                pieces.append(section)
                continue
            mine = [each for each in waiting if last is None or each[0] < last]
            waiting = waiting[len(mine) :]
            pieces.append(_rewritten(section, layout.coding, visitor, scope, mine, {tag for tag, _ in added}))
    except UnknownEncodingError:
        raise
    except Exception as error:  # whatever pydicom raises over a broken element
        raise UnknownEncodingError(f"pydicom: {type(error).__name__}") from error
    return pieces


def _sections(layout: part10.Layout) -> list[tuple[bytes | Range, int | None]]:
    """The data set cut at its large values: bytes or ranges, each with the first tag after it."""
    sections: list[tuple[bytes | Range, int | None]] = []
    begin: int | None = None
    for tag, _, head, start, stop, after in layout.elements:
        large = tag >> 16 == PIXEL_GROUP or stop - start > LARGE
        if large and begin is not None:
            sections.append((layout.source[begin:head], tag))
            begin = None
        if large:
            sections.append((Range(head, after), None))
        elif begin is None:
            begin = head
    if begin is not None and layout.elements:
        sections.append((layout.source[begin : layout.end], None))
    return sections


def _rewritten(  # noqa: PLR0917
    raw: bytes,
    coding: part10.Coding,
    visitor: Visitor,
    scope: Scope,
    added: list[tuple[int, bytes]],
    replaced: set[int],
) -> bytes:
    dataset = read_dataset(BytesIO(raw), coding.implicit, not coding.big)
    for tag in replaced:
        if tag in dataset:
            del dataset[tag]
    _walk(dataset, visitor, scope)
    for _, encoded in added:
        marks = read_dataset(BytesIO(encoded), coding.implicit, not coding.big)
        dataset._dict.update({tag: marks.get_item(tag) for tag in marks.keys()})  # noqa: SIM118
    out = DicomBytesIO()
    out.is_little_endian, out.is_implicit_VR = not coding.big, coding.implicit
    write_dataset(out, dataset)
    return bytes(out.getvalue())


def _walk(dataset: Dataset, visitor: Visitor, scope: Scope) -> None:
    for tag in sorted(dataset.keys()):
        element: Any = dataset.get_item(tag)
        if not visitor.is_plain(int(tag), (element.VR or "").encode()):
            _element(dataset, int(tag), element, visitor, scope)


def _element(dataset: Dataset, tag: int, element: Any, visitor: Visitor, scope: Scope) -> None:
    if not isinstance(element, RawDataElement):
        if element.VR == "SQ":
            _sequence(dataset, tag, element.value, b"x" * len(element.value), visitor, scope, big=scope.big)
            return
        # pydicom has already converted an empty value.
        element = RawDataElement(Tag(tag), element.VR, 0, b"", 0, dataset.original_encoding[0], True)
    raw = element.value or b""
    vr = vr_of(tag, scope) if element.VR in (None, "UN") else str(element.VR)
    items = _items(element, vr, tag, raw)
    inner = _inner(element, vr)
    if items is not None and _sequence(dataset, tag, items, raw, visitor, scope, big=inner.big):
        out = DicomBytesIO()
        out.is_little_endian, out.is_implicit_VR = not inner.big, inner.implicit
        for item in items:
            write_sequence_item(out, item, ["iso8859"])
        _put(dataset, tag, element, bytes(out.getvalue()))
    elif items is None:
        scope.learn(tag, raw)
        new = visitor.value(tag, vr, raw, scope)
        if new is not raw:
            _put(dataset, tag, element, new)


def _inner(element: RawDataElement, vr: str) -> part10.Coding:
    if element.VR == "UN" or vr != "SQ":
        return part10.IMPLICIT_LITTLE
    return part10.CODINGS[element.is_implicit_VR, not element.is_little_endian]


def _items(element: RawDataElement, vr: str, tag: int, raw: bytes) -> Any:
    """The items of a sequence of defined length; None if it is not a sequence."""
    looks_so = vr in ("UN", "OB") and tag & 0x10000 and raw[:4] == ITEM_BYTES
    if vr != "SQ" and not looks_so:
        return None
    inner = _inner(element, vr)
    if vr != "SQ" and not are_items(raw, inner):
        return None
    return read_sequence(BytesIO(raw), inner.implicit, not inner.big, len(raw), ["iso8859"])


def _sequence(  # noqa: PLR0917
    dataset: Dataset, tag: int, items: Any, raw: bytes, visitor: Visitor, scope: Scope, *, big: bool
) -> bool:
    """Walks the items; returns False when the sequence itself was replaced or stays as it is."""
    if tag in (concepts.CONCEPT_NAME, concepts.UNITS) and items:
        scope.says = _says(scope, tag, items[0])
    descends = visitor.descends(tag, "SQ", raw, scope)
    if descends is None:
        del dataset[Tag(tag)]
        return False
    if isinstance(descends, bytes):
        _put(dataset, tag, RawDataElement(Tag(tag), "SQ", 0, b"", 0, True, True), descends)
        return False
    if descends:
        for item in items:
            inner = scope.below(tag, big=big)
            inner.scheme = _scheme_of_code(item)
            _walk(item, visitor, inner)
    return descends


def _scheme_of_code(item: Dataset) -> bytes:
    """What `elements` says of the item."""
    return _raw(item, CODING_SCHEME) if any(_raw(item, tag) for tag in CODE_VALUES) else b""


def _says(scope: Scope, tag: int, item: Dataset) -> concepts.Says:
    """What a content item says of somebody after this code."""
    value, scheme, meaning = (
        decode_text(raw, scope.character_sets)
        for raw in (
            next(filter(None, (_raw(item, each) for each in CODE_VALUES)), b""),
            _raw(item, CODING_SCHEME),
            _raw(item, CODE_MEANING),
        )
    )
    return concepts.of_code(scope.says, tag, value, scheme, meaning)


def _raw(item: Dataset, tag: int) -> bytes:
    element: Any = item.get_item(Tag(tag)) if Tag(tag) in item else None
    value = element.value if element is not None else b""
    return value.strip(b"\0 ") if isinstance(value, bytes) else str(value or "").encode().strip()


def _put(dataset: Dataset, tag: int, element: RawDataElement, new: bytes | None) -> None:
    if new is None:
        del dataset[Tag(tag)]
    else:
        dataset._dict[Tag(tag)] = element._replace(value=new, length=len(new))
