"""Rewrites raw elements at every depth: unchanged ranges stay ranges, changed values are encoded again.

A `Visitor` decides what becomes of a value; this module only knows where values begin and end (PS3.5 section 7).
Whatever it does not understand raises `UnknownEncodingError`, and pydicom rewrites the file instead (`reference`).
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Protocol

from pacsifier.deidentify.engine import concepts
from pacsifier.deidentify.engine.concepts import CODE_VALUES, CODING_SCHEME, Says
from pacsifier.deidentify.engine.dictionary import private_vr, public_vr
from pacsifier.dicom import part10
from pacsifier.dicom.part10 import CHARACTER_SETS, IMPLICIT_LITTLE, PIXEL_GROUP, Coding, Element, Run
from pacsifier.dicom.runs import LONGEST_ELEMENT
from pacsifier.dicom.splice import Piece, Range

ITEM = 0xFFFEE000
ITEM_END = 0xFFFEE00D
SEQUENCE_END = 0xFFFEE0DD
UNDEFINED = 0xFFFFFFFF
LARGE = 1 << 24  # values above this are not held in memory
ITEM_BYTES = b"\xfe\xff\x00\xe0"  # the tag of an item in little endian
_PIXELS = PIXEL_GROUP << 16
_REMEMBERED = LONGEST_ELEMENT  # elements above this are not kept for the next file
_SHOWN = 1 << 10  # elements above this are shown each time
_DEEPEST = 100
_SHORT_HEADER = 8  # bytes; with an explicit VR their length field has 16 bits
_CODES_OF_ITEM = frozenset((concepts.CONCEPT_NAME, concepts.UNITS))


class UnknownEncodingError(Exception):
    """The data set has something that the walker does not understand."""


@dataclass
class Scope:
    """Where an element stands: the sequence above it (0: none), the character sets, the private creators so far.

    `above` are all sequences above it; `big`: numbers are in big endian. `scheme` is the coding scheme, where the item
    has a code value of its own. `says`: what a content item says of somebody, and the values below it.
    """

    parent: int
    character_sets: bytes
    creators: dict[int, str] = field(default_factory=dict)
    above: tuple[int, ...] = ()
    big: bool = False
    scheme: bytes = b""
    says: Says = concepts.NOTHING

    def below(self, parent: int, *, big: bool) -> Scope:
        """The scope of an item of a sequence that stands here."""
        return Scope(parent, self.character_sets, above=(*self.above, parent), big=big, says=self.says)

    def creator(self, tag: int) -> str:
        """The creator of a private element's block; "" where none was met (PS3.5 section 7.8.1)."""
        return self.creators.get(tag >> 16 << 8 | tag >> 8 & 0xFF, "")

    def learn(self, tag: int, raw: bytes) -> None:
        """Remembers the value if it is the character sets or the creator of a private block."""
        if tag == CHARACTER_SETS:
            self.character_sets = raw
        elif tag & 0x1FF00 == 0x10000 and tag & 0xFFFF >= 0x10:
            self.creators[tag >> 16 << 8 | tag & 0xFF] = raw.decode("latin_1").strip(" \0")


class Visitor(Protocol):
    """Decides about elements; `None` removes one, the same object keeps it."""

    def value(self, tag: int, vr: str, raw: bytes, scope: Scope) -> bytes | None:
        """What is written instead of a value."""

    def descends(self, tag: int, vr: str, raw: bytes, scope: Scope) -> bool | bytes | None:
        """Whether to look into the items of a sequence; or what is written instead of them (None: nothing)."""

    def is_plain(self, tag: int, raw_vr: bytes) -> bool:
        """Whether an element with this tag and VR stays, whatever its value."""

    def keeps_large(self, tag: int, vr: str, source: part10.Buffer, start: int, stop: int) -> bool:
        """Whether a value too large to be held stays."""


Outcome = tuple[bytes, tuple[tuple[str, int], ...]]
"""What is written for a whole element (b"": nothing), and the notes about it: kinds and tags."""


class Rewriter(Visitor, Protocol):
    """A visitor that takes notes and remembers what became of elements."""

    def notes(self) -> list[tuple[str, int]]:
        """The notes of this file so far, kinds and tags; the notes about remembered elements are added to it."""

    def memory(self, coding: Coding, character_sets: bytes, creator: str) -> dict[bytes, Outcome]:
        """What became of top-level elements with this coding, these character sets and this private creator."""

    def remember(self, memory: dict[bytes, Outcome], whole: bytes, outcome: Outcome) -> None:
        """Adds an element to a memory."""


class Viewer(Visitor, Protocol):
    """A visitor that only looks, and keeps the tags that it has called plain."""

    plain: set[int]

    def shown(self, coding: Coding, character_sets: bytes) -> set[bytes]:
        """The whole top-level elements with this coding and these character sets that need not be shown again."""


class Bystander:
    """A visitor that changes nothing and looks into every sequence."""

    def value(self, tag: int, vr: str, raw: bytes, scope: Scope) -> bytes | None:  # noqa: ARG002
        """Every value stays."""
        return raw

    def descends(self, tag: int, vr: str, raw: bytes, scope: Scope) -> bool | bytes | None:  # noqa: ARG002
        """Every sequence is looked into."""
        return True

    def is_plain(self, tag: int, raw_vr: bytes) -> bool:  # noqa: ARG002
        """Every element is looked at."""
        return False

    def keeps_large(self, tag: int, vr: str, source: part10.Buffer, start: int, stop: int) -> bool:  # noqa: ARG002
        """Large values stay."""
        return True


def rewrite(layout: part10.Layout, visitor: Rewriter, added: list[tuple[int, bytes]]) -> list[Piece]:
    """Rewrites the data set as the visitor decides, as pieces in order; `added` are encoded elements to put in.

    Raises UnknownEncodingError.
    """
    rewriting = _Rewriting(layout, visitor, added)
    for stretch in layout.stretches:
        if isinstance(stretch, Run):
            rewriting.add_run(stretch)
        else:
            rewriting.add(stretch)
    return rewriting.ended()


class _Rewriting:
    """A data set on its way: what is written of it so far, and what waits to be put in."""

    def __init__(self, layout: part10.Layout, visitor: Rewriter, added: list[tuple[int, bytes]]) -> None:
        self._source, self._coding, self._visitor = layout.source, layout.coding, visitor
        self._scope = Scope(0, b"", big=layout.coding.big)
        self._notes = visitor.notes()
        self._memory = visitor.memory(layout.coding, b"", "")
        self._waiting = [*added, (1 << 33, b"")]
        self._replaced = {tag for tag, _ in added}
        self._pieces: list[Piece] = []
        self._out: list[bytes] = []

    def add_run(self, run: Run) -> None:
        """Adds what is written for a run: as a whole, where nothing is put in between."""
        if self._replaced.isdisjoint(run.tags):
            self._put_in_before(run.elements[0][0])
            if run.highest < self._waiting[0][0]:
                self._add_known(run.whole, lambda: self._of_run(run))
                return
        for element in run.elements:
            self.add(element)

    def add(self, element: Element) -> None:
        """Adds what is written for an element."""
        tag, _, head, _, _, after = element
        if tag in self._replaced:
            return
        self._put_in_before(tag)
        if after - head <= _REMEMBERED and not tag & 0x10000 and tag != CHARACTER_SETS and tag < _PIXELS:
            whole = self._source[head:after]
            self._add_known(whole, lambda: self._remembered(whole, element))
            return
        piece = _rewritten(self._source, element, self._coding, self._visitor, self._scope)
        if isinstance(piece, bytes):
            self._out.append(piece)
        else:
            self._pieces += (b"".join(self._out), piece)
            self._out.clear()
        if tag == CHARACTER_SETS:
            self._memory = self._visitor.memory(self._coding, self._scope.character_sets, "")

    def ended(self) -> list[Piece]:
        """All pieces, with what still waited."""
        return [*self._pieces, b"".join(self._out) + b"".join(encoded for _, encoded in self._waiting)]

    def _put_in_before(self, tag: int) -> None:
        while self._waiting[0][0] < tag:
            self._out.append(self._waiting.pop(0)[1])

    def _add_known(self, whole: bytes, decide: Callable[[], bytes]) -> None:
        known = self._memory.get(whole)
        if known is None:
            self._out.append(decide())
        else:
            self._out.append(known[0])
            self._notes += known[1]

    def _remembered(self, whole: bytes, element: Element) -> bytes:
        return _remembered(whole, element, self._coding, self._visitor, self._scope, self._memory)

    def _of_run(self, run: Run) -> bytes:
        """What is written for the elements of a run; remembered for all of it."""
        noted, out = len(self._notes), self._out
        self._out = []
        for element in run.elements:
            self.add(element)
        new, self._out = b"".join(self._out), out
        self._visitor.remember(self._memory, run.whole, (new, tuple(self._notes[noted:])))
        return new


def visit(layout: part10.Layout, visitor: Viewer) -> None:
    """Shows the visitor every element that is not plain; writes nothing. Raises UnknownEncodingError."""
    source, coding = layout.source, layout.coding
    scope = Scope(0, b"", big=coding.big)
    shown = visitor.shown(coding, b"")
    elements: Iterable[Element] = layout.elements
    if len(layout.by_tag) == len(layout.elements):
        elements = (layout.by_tag[tag] for tag in sorted(layout.by_tag.keys() - visitor.plain))
    for element in elements:
        tag, raw_vr, head, start, stop, after = element
        if visitor.is_plain(tag, raw_vr) or tag >> 16 == PIXEL_GROUP or stop - start > LARGE:
            continue
        whole = source[head:after] if after - head <= _SHOWN else b""
        if whole in shown:
            continue
        show(element, source[start:stop], coding, visitor, scope)
        if tag == CHARACTER_SETS:
            shown = visitor.shown(coding, scope.character_sets)
        elif whole and not tag & 0x10000:
            shown.add(whole)


def show(element: Element, raw: bytes, coding: Coding, visitor: Visitor, scope: Scope) -> None:
    """Shows the visitor one element with its value, or what lies in it. Raises UnknownEncodingError."""
    tag, raw_vr, _, _, stop, after = element
    _decided(tag, raw_vr, raw, after != stop, coding, visitor, scope, 0)


def _rewritten(
    source: part10.Buffer, element: Element, coding: Coding, visitor: Rewriter, scope: Scope
) -> Piece:
    """What is written for an element that is large or depends on other elements."""
    tag, raw_vr, head, start, stop, after = element
    if tag >> 16 == PIXEL_GROUP or visitor.is_plain(tag, raw_vr):
        return Range(head, after)
    if stop - start > LARGE:
        vr = raw_vr.decode("latin_1") or vr_of(tag, scope)
        return Range(head, after) if visitor.keeps_large(tag, vr, source, start, stop) else b""
    if after - head > _REMEMBERED or tag & 0xFF00 == 0 or not tag & 0x10000:
        new = _anew(source[head:after], element, coding, visitor, scope)
        return Range(head, after) if new is None else new
    whole = source[head:after]
    memory = visitor.memory(coding, scope.character_sets, scope.creator(tag))
    known = memory.get(whole)
    if known is None:
        return _remembered(whole, element, coding, visitor, scope, memory)
    visitor.notes().extend(known[1])
    return known[0]


def _remembered(  # noqa: PLR0917 - see _decided
    whole: bytes,
    element: Element,
    coding: Coding,
    visitor: Rewriter,
    scope: Scope,
    memory: dict[bytes, Outcome],
) -> bytes:
    """What is written for an element; remembered, except where the tag alone decides."""
    tag, raw_vr = element[:2]
    if visitor.is_plain(tag, raw_vr):
        return whole
    noted = len(visitor.notes())
    new = _anew(whole, element, coding, visitor, scope)
    new = whole if new is None else new
    visitor.remember(memory, whole, (new, tuple(visitor.notes()[noted:])))
    return new


def _anew(whole: bytes, element: Element, coding: Coding, visitor: Visitor, scope: Scope) -> bytes | None:
    """The element encoded again (b"" if it goes); None if it stays."""
    tag, raw_vr, head, start, stop, after = element
    raw = whole[start - head : stop - head]
    new = _decided(tag, raw_vr, raw, after != stop, coding, visitor, scope, 0)
    if new is raw:
        return None
    return b"" if new is None else _encoded(whole[: start - head], raw_vr, new, after != stop, coding)


def _decided(  # noqa: PLR0917 - called for every element
    tag: int,
    raw_vr: bytes,
    raw: bytes,
    undefined: bool,
    coding: Coding,
    visitor: Visitor,
    scope: Scope,
    depth: int,
) -> bytes | None:
    """The new content of an element: the same object if it stays, None if the element goes."""
    vr = raw_vr.decode("latin_1")
    if raw_vr == b"UN" or not raw_vr:
        vr = vr_of(tag, scope)
    if undefined and vr != "SQ" and raw_vr in (b"", b"UN"):
        vr = "SQ"
    if vr == "SQ" or (vr in ("UN", "OB") and tag & 0x10000 and raw[:4] == ITEM_BYTES):
        inner = IMPLICIT_LITTLE if raw_vr == b"UN" or vr != "SQ" else coding
        if tag in _CODES_OF_ITEM:
            scope.says = concepts.of_items(scope.says, tag, raw, inner, scope.character_sets)
        descends = visitor.descends(tag, vr, raw, scope)
        if not isinstance(descends, bool):
            return descends
        if not descends:
            return raw
        try:
            return rewrite_items(raw, inner, tag, visitor, scope, depth + 1)
        except UnknownEncodingError:
            if vr == "SQ":
                raise
    elif undefined:
        raise UnknownEncodingError(f"undefined length of {tag:08X}")
    if tag == CHARACTER_SETS or tag & 0x1FF00 == 0x10000:
        scope.learn(tag, raw)
    return visitor.value(tag, vr, raw, scope)


def rewrite_items(  # noqa: PLR0917 - see _decided
    raw: bytes, coding: Coding, parent: int, visitor: Visitor, scope: Scope, depth: int = 0
) -> bytes:
    """Rewrites the items of a sequence as the visitor decides; returns `raw` itself if nothing changes.

    Raises UnknownEncodingError if the bytes are not items to the end.
    """
    if depth > _DEEPEST:
        raise UnknownEncodingError("nested too deep")
    out: list[bytes] = []
    pos, changed = 0, False
    try:
        while pos < len(raw):
            tag, _, start, length = part10.header(raw, pos, coding)
            if tag == SEQUENCE_END and length == 0:
                out.append(raw[pos:start])
                pos = start
                continue
            if tag != ITEM:
                raise UnknownEncodingError(f"no item below {parent:08X}")
            content, pos, differs = _item(raw, start, length, coding, parent, visitor, scope, depth)
            if length == UNDEFINED:
                out += (raw[start - 8 : start], content, _header(ITEM_END, 0, coding))
            else:
                out += (raw[start - 8 : start - 4], _packed(len(content), coding), content)
            changed = changed or differs
    except part10.BrokenError as broken:
        raise UnknownEncodingError(str(broken)) from broken
    return b"".join(out) if changed else raw


def are_items(raw: bytes, coding: Coding) -> bool:
    """Whether the bytes are items of a sequence, to the last byte."""
    try:
        rewrite_items(raw, coding, 0, Bystander(), Scope(0, b""))
    except UnknownEncodingError:
        return False
    return True


def _item(  # noqa: PLR0917 - see _decided
    raw: bytes, pos: int, length: int, coding: Coding, parent: int, visitor: Visitor, outer: Scope, depth: int
) -> tuple[bytes, int, bool]:
    """Rewrites one item; returns its new content, where the next item begins, and whether anything changed."""
    delimited = length == UNDEFINED
    stop = len(raw) if delimited else pos + length
    if stop > len(raw):
        raise UnknownEncodingError(f"an item below {parent:08X} is cut")
    scope = outer.below(parent, big=coding.big)
    out: list[bytes] = []
    begin, changed = pos, False
    scope.scheme = _scheme_of_code(raw, pos, stop, coding)
    while pos < stop:
        tag, raw_vr, start, length = part10.header(raw, pos, coding)
        if tag == ITEM_END and delimited:
            content = b"".join(out) if changed else raw[begin:pos]
            return content, start, changed
        if not tag or tag >> 16 == 0xFFFE:
            raise UnknownEncodingError(f"no element below {parent:08X}")
        undefined = length == UNDEFINED
        end = _end_of_undefined(raw, start, raw_vr, coding) if undefined else start + length
        after = end + 8 if undefined else end
        if after > stop:
            raise UnknownEncodingError(f"an element below {parent:08X} is cut")
        if not visitor.is_plain(tag, raw_vr):
            value = raw[start:end]
            new = _decided(tag, raw_vr, value, undefined, coding, visitor, scope, depth)
            if new is not value:
                changed = True
                if new is not None:
                    out.append(_encoded(raw[pos:start], raw_vr, new, undefined, coding))
                pos = after
                continue
        out.append(raw[pos:after])
        pos = after
    if delimited:
        raise UnknownEncodingError(f"an item below {parent:08X} has no end")
    return (b"".join(out) if changed else raw[begin:stop]), stop, changed


def _scheme_of_code(raw: bytes, pos: int, stop: int, coding: Coding) -> bytes:
    """The coding scheme of an item that begins with a code; b"" without a value or a scheme."""
    has_value, scheme = False, b""
    while pos < stop:
        tag, _, start, length = part10.header(raw, pos, coding)
        if tag > CODE_VALUES[-1] or length == UNDEFINED:
            break
        has_value = has_value or (tag in CODE_VALUES and bool(raw[start : start + length].strip(b"\0 ")))
        if tag == CODING_SCHEME:
            scheme = raw[start : start + length].strip(b"\0 ")
        pos = start + length
    return scheme if has_value else b""


def _end_of_undefined(raw: bytes, start: int, raw_vr: bytes, coding: Coding) -> int:
    return part10.end_of_undefined(raw, start, raw_vr, coding) - 8


def _encoded(header: bytes, raw_vr: bytes, content: bytes, undefined: bool, coding: Coding) -> bytes:
    """An element with its old tag and VR and new content."""
    if undefined:
        return header + content + _header(SEQUENCE_END, 0, coding)
    if raw_vr and len(header) == _SHORT_HEADER:
        if len(content) > 0xFFFE:
            raise UnknownEncodingError("a value has become too long")
        return header[:-2] + struct.pack(">H" if coding.big else "<H", len(content)) + content
    return header[:-4] + _packed(len(content), coding) + content


def _packed(length: int, coding: Coding) -> bytes:
    return struct.pack(">L" if coding.big else "<L", length)


def item_header(length: int, coding: Coding) -> bytes:
    """The header of an item of this length."""
    return _header(ITEM, length, coding)


def _header(tag: int, length: int, coding: Coding) -> bytes:
    return struct.pack(">HHL" if coding.big else "<HHL", tag >> 16, tag & 0xFFFF, length)


def vr_of(tag: int, scope: Scope) -> str:
    """The VR of an element that is written without one: the dictionary's, or UN."""
    if tag & 0x10000:
        if tag & 0xFF00 == 0:
            return "LO"
        creator = scope.creator(tag)
        return private_vr(tag, creator) if creator else "UN"
    return public_vr(tag)
