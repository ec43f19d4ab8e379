"""Reads outputs again for the proof, and has every value and all bytes but pixels searched.

Values are found by the walker; what became of an element that another file of the patient has byte for byte is
remembered. Some files, and those that the walker does not understand, are read by pydicom as well, which shares no code
with what wrote them.
"""

from __future__ import annotations

import re
import struct
import warnings
from collections.abc import Iterator, Sequence
from io import FileIO
from pathlib import Path
from typing import Any, NamedTuple

import pydicom
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.errors import BytesLengthException
from pydicom.tag import BaseTag

from pacsifier.deidentify.engine.concepts import CODE_VALUES, CODING_SCHEME
from pacsifier.deidentify.engine.elements import Bystander, Scope, UnknownEncodingError, show
from pacsifier.deidentify.engine.identifiers import SHORTEST_IN_BYTES
from pacsifier.deidentify.engine.marks import OUR_VERSION
from pacsifier.deidentify.engine.private_numbers import NUMBERS
from pacsifier.deidentify.searching import OLD_UID, Search, is_uids
from pacsifier.dicom import part10
from pacsifier.dicom.part10 import CHARACTER_SETS, Coding, Element, Layout
from pacsifier.dicom.text import decode_text

TagAndKind = tuple[str, str]

_PIXELS = (0x7FE00008, 0x7FE00009, 0x7FE00010)
_META_SOP_INSTANCE, _META_VERSION = 0x00020003, 0x00020013
_UIDS_OF_NAME = (0x00080018, 0x0020000E, 0x0020000D)
_RAW = "raw bytes"
_REMEMBERED = 1 << 12  # bytes of an element
_MOST_REMEMBERED = 50_000  # elements of one creator and character set
_ONE_TEXT = frozenset(("ST", "LT", "UT", "UR"))
_SMALLEST_DAY = 19000101
# VRs of public elements that say nothing of a person where they hold what they should.
_TEXTS_OF_NUMBERS = frozenset((b"DS", b"IS", b"TM"))
_MEASURES = _TEXTS_OF_NUMBERS | {b"US", b"UL", b"SS", b"SL", b"FL", b"FD", b"AT"}
_OF_NUMBERS = b"0123456789.+-eE:\\ \0"
_NOT_TEXT = frozenset(("UN", "AT", "SQ"))


class _Outcome(NamedTuple):
    """What was found in a top-level element: hits in its values, and kinds of what else stands in its bytes."""

    hits: tuple[TagAndKind, ...] = ()
    kinds: frozenset[str] = frozenset()


class Rereader:
    """Reads files of one patient."""

    def __init__(self, search: Search) -> None:
        self._search = search
        self._values = _Values(search)
        self._memories: dict[tuple[Coding, bytes, str], dict[bytes, _Outcome]] = {}
        self._heads: dict[bytes, set[str]] = {}

    def in_file(self, path: Path, *, name: str, by_pydicom: bool) -> Iterator[TagAndKind]:
        """Tag and kind of every hit in a file, and in its name below the output ("": not searched)."""
        with FileIO(path) as handle:
            layout = part10.layout(handle)
            uids = [(layout.value(tag) or b"").decode("latin_1").strip("\0 ") for tag in _UIDS_OF_NAME]
            yield from (("name of the file", kind) for kind in self._search.in_name(name, uids))
            if layout.defect:
                yield "the whole file", f"cannot be read again: {layout.defect}"
                return
            handle.seek(0)
            kinds = self._in_head(layout, handle.read(layout.offset)) | self._beside_pixels(layout)
            walked = self._walked(layout)
            said: list[TagAndKind] = []
            if by_pydicom or walked is None:
                said, exempt = _by_pydicom(path, self._search)
                walked = walked or _Outcome(kinds=frozenset(self._in_all_bytes(layout, exempt)))
        found = dict.fromkeys([*walked.hits, *said])
        yield from found
        yield from ((_RAW, kind) for kind in sorted((kinds | walked.kinds) - {kind for _, kind in found}))

    def _walked(self, layout: Layout) -> _Outcome | None:
        """What is in the data set; None where the walker does not understand it."""
        scope = Scope(0, b"", big=layout.coding.big)
        hits: list[TagAndKind] = []
        kinds: set[str] = set()
        try:
            for element in layout.elements:
                if element[0] not in _PIXELS and not self._is_harmless(element, layout):
                    outcome = self._looked_at(element, layout, scope)
                    hits += outcome.hits
                    kinds |= outcome.kinds
        except UnknownEncodingError:
            return None
        return _Outcome(tuple(hits), frozenset(kinds))

    def _is_harmless(self, element: Element, layout: Layout) -> bool:
        """Whether a public element holds new UIDs or numbers alone."""
        tag, vr, _, start, stop, _ = element
        if tag & 0x10000 or (vr != b"UI" and vr not in _MEASURES):
            return False
        if vr == b"UI":
            raw = layout.source[start:stop]
            return is_uids(raw) and not self._search.has_old_uid(_each_uid(raw))
        return stop - start < SHORTEST_IN_BYTES or (
            vr in _TEXTS_OF_NUMBERS and not layout.source[start:stop].strip(_OF_NUMBERS)
        )

    def _looked_at(self, element: Element, layout: Layout, scope: Scope) -> _Outcome:
        tag, _, head, _, _, after = element
        if after - head > _REMEMBERED or tag == CHARACTER_SETS or tag & 0x1FF00 == 0x10000:
            return self._searched(element, layout, scope)
        creator = scope.creator(tag) if tag & 0x10000 else ""
        memory = self._memories.setdefault((layout.coding, scope.character_sets, creator), {})
        whole = layout.source[head:after]
        outcome = memory.get(whole)
        if outcome is None:
            if len(memory) >= _MOST_REMEMBERED:
                memory.clear()
            outcome = memory[whole] = self._searched(element, layout, scope)
        return outcome

    def _searched(self, element: Element, layout: Layout, scope: Scope) -> _Outcome:
        raw = layout.source[element[3] : element[4]]
        values = self._values
        values.hits, values.exempt = [], []
        show(element, raw, layout.coding, values, scope)
        return _Outcome(tuple(values.hits), frozenset(self._search.in_bytes(raw, values.exempt)))

    def _in_head(self, layout: Layout, head: bytes) -> set[str]:
        """What stands before the data set: the UID of the instance aside, it is the same in many files."""
        uid = layout.meta.get(_META_SOP_INSTANCE, b"")
        own = {OLD_UID} if self._search.has_old_uid(_each_uid(uid)) else set()
        rest = head.replace(uid, b"") if uid and is_uids(uid) else head
        version = layout.meta.get(_META_VERSION, b"")
        if OUR_VERSION.fullmatch(version):
            rest = rest.replace(version, b"")
        if rest not in self._heads:
            self._heads[rest] = self._search.in_bytes(rest)
        return own | self._heads[rest]

    def _beside_pixels(self, layout: Layout) -> set[str]:
        if not layout.is_compressed:
            return set()
        _, _, _, start, stop, _ = layout.by_tag[part10.PIXEL_DATA]
        return self._search.in_bytes(b"\0".join(_beside_pixels(layout.source, start, stop)))

    def _in_all_bytes(self, layout: Layout, exempt: Sequence[bytes]) -> set[str]:
        kept = (layout.source[each[2] : each[5]] for each in layout.elements if each[0] not in _PIXELS)
        return self._search.in_bytes(b"\0".join(kept), exempt)


class _Values(Bystander):
    """Has every value searched that the walker shows."""

    def __init__(self, search: Search) -> None:
        self._search = search
        self._known: dict[tuple[object, ...], tuple[tuple[str, ...], bytes]] = {}
        self.hits: list[TagAndKind] = []
        self.exempt: list[bytes] = []

    def value(self, tag: int, vr: str, raw: bytes, scope: Scope) -> bytes | None:
        """Every value stays."""
        creator = scope.creator(tag) if tag & 0x10000 else ""
        key = (tag, vr, raw, scope.scheme, creator, scope.character_sets, scope.big)
        known = self._known.get(key)
        if known is None:
            scheme = scope.scheme.decode("latin_1")
            known = self._search.in_value(tag, vr, _values_of(vr, raw, scope), scheme, creator)
            if scope.above and len(raw) <= _REMEMBERED:
                if len(self._known) >= _MOST_REMEMBERED:
                    self._known.clear()
                self._known[key] = known
        kinds, exempt = known
        if kinds:
            spelled = "/".join(f"({each >> 16:04X},{each & 0xFFFF:04X})" for each in (*scope.above, tag))
            self.hits += ((spelled, kind) for kind in kinds)
        if exempt:
            self.exempt.append(exempt)
        return raw


def _values_of(vr: str, raw: bytes, scope: Scope) -> list[str | bytes]:
    """The values of an element as text, or its bytes where they are of unknown structure."""
    if vr in NUMBERS and len(raw) % struct.calcsize(f"={NUMBERS[vr]}") == 0:
        count = len(raw) // struct.calcsize(f"={NUMBERS[vr]}")
        numbers = struct.unpack(f"{'>' if scope.big else '<'}{count}{NUMBERS[vr]}", raw)
        return [str(each) for each in numbers if each >= _SMALLEST_DAY]
    if vr.startswith("O") or vr in _NOT_TEXT:
        return [raw]
    text = decode_text(raw, scope.character_sets)
    return [each.strip(" \0") for each in ([text] if vr in _ONE_TEXT else text.split("\\"))]


def _each_uid(raw: bytes) -> list[bytes]:
    return [each.strip(b" \0") for each in raw.split(b"\\")]


# --- by pydicom ---------------------------------------------------------------------------------------------------


def _by_pydicom(path: Path, search: Search) -> tuple[list[TagAndKind], list[bytes]]:
    """The hits in values, and the texts in which the raw bytes may have what is known."""
    exempt: list[bytes] = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            dataset = pydicom.dcmread(path, stop_before_pixels=True)
            return list(_in_dataset(dataset, search, exempt, "")), exempt
        except Exception as error:  # whatever pydicom meets in a broken element
            return [("the whole file", f"cannot be read again: {type(error).__name__}")], exempt


def _in_dataset(dataset: Dataset, search: Search, exempt: list[bytes], above: str) -> Iterator[TagAndKind]:
    scheme = _scheme_of(dataset)
    for tag in sorted(dataset.keys()):
        spelled = f"{above}({tag.group:04X},{tag.element:04X})"
        element = _converted(dataset, tag)
        if element.VR == "SQ":
            for item in element.value:
                yield from _in_dataset(item, search, exempt, f"{spelled}/")
            continue
        values = element.value if element.VM > 1 else [element.value]
        read = [each if isinstance(each, bytes) else str(each) for each in values if each is not None]
        kinds, written = search.in_value(int(tag), element.VR, read, scheme, _creator_of(dataset, tag))
        yield from ((spelled, kind) for kind in kinds)
        exempt.append(written)


def _converted(dataset: Dataset, tag: Any) -> DataElement:
    """An element; as bytes of unknown VR where pydicom cannot make a value of them."""
    try:
        return dataset[tag]
    except (ValueError, NotImplementedError, BytesLengthException):
        return DataElement(tag, "UN", dataset.get_item(tag).value)


def _creator_of(dataset: Dataset, tag: BaseTag) -> str:
    """The creator of a private element's block; "" for none."""
    creator = BaseTag(tag & ~0xFFFF | tag.element >> 8)
    return str(dataset[creator].value or "").strip(" \0") if tag.is_private and creator in dataset else ""


def _scheme_of(item: Dataset) -> str:
    """The coding scheme of an item with a code value of its own."""
    values = [str(item.get(tag).value or "") for tag in CODE_VALUES if tag in item]
    return str(item[CODING_SCHEME].value or "").strip() if any(values) and CODING_SCHEME in item else ""


# --- compressed pixel data ----------------------------------------------------------------------------------------


def _beside_pixels(source: part10.Buffer, start: int, stop: int) -> Iterator[bytes]:
    """The headers of every fragment, and what follows its picture."""
    while start + 8 <= stop:
        length = int.from_bytes(source[start + 4 : start + 8], "little")
        begin, end = start + 8, min(start + 8 + length, stop)
        if source[begin : begin + 2] in _PICTURES:
            yield source[begin : _end_of_headers(source, begin, end)]
            tail = source[max(begin, end - _LONGEST_TAIL) : end]
            yield tail[max(tail.rfind(b"\xff\xd9"), 0) :]
        elif source[begin + 4 : min(begin + 8, end)] in _BOXED:
            yield _CODESTREAM.split(source[begin : min(begin + _LONGEST_TAIL, end)], maxsplit=1)[0]
        start = end


_PICTURES = {
    b"\xff\xd8": b"\xff\xda",
    b"\xff\x4f": b"\xff\x90",
}  # JPEG and JPEG 2000: what ends their headers
_LONGEST_TAIL = 1 << 16
_BOXED, _CODESTREAM = (b"jP  ", b"JXL "), re.compile(rb"jp2c|jxl[cp]")


def _end_of_headers(source: part10.Buffer, begin: int, end: int) -> int:
    """Where the headers of a picture end; its end where they cannot be followed."""
    last, at = _PICTURES[source[begin : begin + 2]], begin + 2
    while at + 4 <= end:
        marker = source[at : at + 4]
        if marker[:1] != b"\xff" or marker[:2] == last:
            return at
        at += 2 + int.from_bytes(marker[2:], "big")
    return end
