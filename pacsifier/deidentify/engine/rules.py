"""Decides about every element of one patient's files, and remembers what it decided.

The profile names the action, except where the VR or the place of an element says more; `replacing` and `private`
say what is written.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from functools import lru_cache
from typing import NamedTuple

from pacsifier.deidentify.engine import private, replacing
from pacsifier.deidentify.engine.concepts import CODE_MEANING, CODE_VALUES, CODING_SCHEME, Role, Says
from pacsifier.deidentify.engine.descriptors import Remark, Vocabulary
from pacsifier.deidentify.engine.dictionary import public_vr, public_vrs
from pacsifier.deidentify.engine.elements import Outcome, Scope, vr_of
from pacsifier.deidentify.engine.identifiers import Matcher
from pacsifier.deidentify.engine.labels import LABELS, Labels
from pacsifier.deidentify.engine.profile import TEXT_VRS, Action, Options, Profile, read_words
from pacsifier.deidentify.engine.replacing import BINARY_VRS, EMPTY, GONE, Knowledge, Replacement, Value
from pacsifier.deidentify.engine.subject import Subject
from pacsifier.dicom import part10
from pacsifier.dicom.part10 import Coding

_NUMBER_VRS = frozenset(("US", "SS", "UL", "SL", "SV", "UV", "FL", "FD", "AT"))
_MEMO_LIMIT_BYTES = 1 << 24
_MEMO_ENTRY_BYTES = 400  # of Python's objects, beside the value itself
_MEMO_BYTES = 1 << 13
_LARGEST_KEPT, _MOST_LARGE = 1 << 20, 8  # of the values above that, in bytes and in number

_CODES = frozenset((*CODE_VALUES, CODING_SCHEME, CODE_MEANING))
# These are of type 2 in that sequence, so they are emptied instead of removed.
_NEEDED_EMPTY = frozenset(((0x0040A370, 0x00401001), (0x0040A370, 0x00081110)))
# The table removes these; in presentation states they are of type 1.
_PRESENTATION_STATE = "1.2.840.10008.5.1.4.1.1.11."
_PRESENTATION_CREATION = frozenset((0x00700082, 0x00700083))

CHANGES = ("removed", "emptied", "replaced", "cleaned", "malformed")
"""The kinds of changes to an element."""


class _Place(NamedTuple):
    """Where a public element stands: below which sequence, whether people are named there, the scheme of its code.

    `says`: what the content item says of somebody.
    """

    parent: int
    of_people: bool
    scheme: bytes
    says: Says


_Where = tuple[int, str, bytes, int, str, bool, bytes, bool, Says]
"""Tag, VR, character sets, sequence above, private creator, whether of people, coding scheme, whether in big endian,
and what the content item says of somebody."""


@dataclass
class Told:
    """What there is to say of descriptions, each once: of words by tag, and texts before and after by tag."""

    remarks: dict[tuple[int, Remark], None] = field(default_factory=dict)
    texts: dict[tuple[int, str, str], None] = field(default_factory=dict)

    def add(self, tag: int, known: Replacement) -> None:
        """Adds what a replacement tells."""
        if known.said:
            self.remarks.update(dict.fromkeys((tag, remark) for remark in known.said.remarks))
            self.texts[tag, known.said.before, known.said.after] = None


class Rules:
    """Decides about every element of one patient's files; a `Visitor` of `elements` and of `reference`.

    `told` collects what there is to say of descriptions, until the caller asks for it.
    """

    def __init__(self, profile: Profile, secret: bytes, subject: Subject, vocabulary: Vocabulary) -> None:
        self.subject = subject
        self.options: Options = profile.options
        self._told = Told()
        self._labels = Labels()
        self._profile = profile
        self._knowledge = Knowledge(
            profile,
            secret,
            subject,
            vocabulary,
            Matcher(subject.known, subject.moved_days, subject.date_shift_days),
        )
        self._changes: list[tuple[str, int]] = []
        self._sop_class = ""
        self._memo_bytes = 0
        self._memo: dict[tuple[_Where, bytes], Replacement] = {}
        self._large: dict[_Where, tuple[bytes, Replacement]] = {}
        self._memories: dict[tuple[Coding, bytes, str], dict[bytes, Outcome]] = {}
        self._plain: dict[tuple[int, bytes], bool] = {}
        self._of_people: dict[tuple[int, ...], bool] = {}

    def start(self, sop_class: str) -> None:
        """Begins a new file: its notes are empty."""
        self._changes = []
        if sop_class != self._sop_class or self._memo_bytes > _MEMO_LIMIT_BYTES:
            self._sop_class = sop_class
            self._memo.clear()
            self._large.clear()
            self._memories.clear()
            self._memo_bytes = 0

    def new_uid(self, old: str) -> str:
        """The new UID of an old one; the standard's own UIDs stay."""
        return replacing.new_uid(old, self._knowledge.secret)

    def names_somebody(self, raw: bytes) -> bool:
        """Whether the bytes hold a known identifier."""
        return self._knowledge.matcher.mask_bytes(raw) is not raw

    def names_somebody_in(self, text: str) -> bool:
        """Whether a text that was read from a picture holds a known identifier; readers lose blanks between words."""
        matcher = self._knowledge.matcher
        return bool(matcher.spans(text) or matcher.needles.masked(raw := text.encode()) is not raw)

    # --- the memory -------------------------------------------------------------------------------------------

    def told(self) -> Told:
        """What there is to say of the descriptions met since the last call."""
        told, self._told = self._told, Told()
        return told

    def notes(self) -> list[tuple[str, int]]:
        """What was changed in this file: kind and tag in the order met, never values."""
        return self._changes

    def memory(self, coding: Coding, character_sets: bytes, creator: str) -> dict[bytes, Outcome]:
        """What became of whole elements with this coding, in this patient's files of one SOP class."""
        return self._memories.setdefault((coding, character_sets, creator), {})

    def remember(self, memory: dict[bytes, Outcome], whole: bytes, outcome: Outcome) -> None:
        """Adds an element to a memory."""
        memory[whole] = outcome
        self._memo_bytes += 2 * len(whole) + _MEMO_ENTRY_BYTES

    # --- the visitor ------------------------------------------------------------------------------------------

    def is_plain(self, tag: int, raw_vr: bytes) -> bool:
        """Whether an element with this tag and VR stays, whatever its value: kept public numbers."""
        plain = self._plain.get((tag, raw_vr))
        if plain is None:
            written = raw_vr.decode("latin_1")
            plain = (not written or written in _NUMBER_VRS) and self._is_kept_number(tag)
            plain = plain and tag not in replacing.CONTENT_NUMBERS
            self._plain[tag, raw_vr] = plain
        return plain

    def _is_kept_number(self, tag: int) -> bool:
        # Without a creator a private element is no number, and the length of a group is never kept.
        vr = vr_of(tag, Scope(0, b""))
        return vr in _NUMBER_VRS and self._profile.action(tag, vr) is Action.KEEP

    def descends(self, tag: int, vr: str, raw: bytes, scope: Scope) -> bool | bytes | None:  # noqa: ARG002
        """Whether to look into the items of a sequence; or what is written instead."""
        if not scope.parent:
            self._labels = Labels(raw)
        if private.is_private(tag):
            return private.descends(tag, scope.creator(tag), self.options) or self._noted(tag, GONE)
        action = self._profile.action(tag, "SQ")
        if action is Action.REMOVE and (scope.parent, tag) not in _NEEDED_EMPTY:
            return self._noted(tag, GONE)
        if action in (Action.REMOVE, Action.EMPTY):
            return self._noted(tag, EMPTY) if raw else False
        return bool(raw)

    def keeps_large(self, tag: int, vr: str, source: part10.Buffer, start: int, stop: int) -> bool:
        """Whether a value too large for memory stays: public by the profile, private if nothing known is in it."""
        if private.is_private(tag):
            keeps = not private.is_barred(tag, "", self.options) and not private.holds_known(
                source, start, stop, self._knowledge
            )
        else:
            keeps = vr in BINARY_VRS and self._profile.action(tag, vr) is Action.KEEP
        if not keeps:
            self._noted(tag, GONE)
        return keeps

    def value(self, tag: int, vr: str, raw: bytes, scope: Scope) -> bytes | None:
        """What is written instead of a value: the same object if it stays, None if the element goes."""
        creator = scope.creator(tag) if scope.creators else ""
        people = self._is_of_people(scope)
        where = (
            *(tag, vr, scope.character_sets, scope.parent, creator, people),
            *(scope.scheme, scope.big, scope.says),
        )
        known = self._large_value(where, raw) if len(raw) > _MEMO_BYTES else self._short_value(where, raw)
        if scope.parent and tag in LABELS:
            known = self._labels.apart(Value(tag, vr, raw, scope.character_sets), scope.parent, known)
        if known.change:
            return self._noted(tag, known)
        return raw

    def _short_value(self, where: _Where, raw: bytes) -> Replacement:
        known = self._memo.get((where, raw))
        if known is None:
            known = self._memo[where, raw] = self._told_of(where, raw)
            self._memo_bytes += len(raw) + _MEMO_ENTRY_BYTES
        return known

    def _large_value(self, where: _Where, raw: bytes) -> Replacement:
        """What becomes of a value of some kB: many files of a series have the one of the file before."""
        last = self._large.get(where)
        if last and last[0] == raw:
            return last[1]
        known = self._told_of(where, raw)
        if len(raw) <= _LARGEST_KEPT:
            if len(self._large) >= _MOST_LARGE:
                self._large.clear()
            self._large[where] = raw, known
        return known

    def _told_of(self, where: _Where, raw: bytes) -> Replacement:
        """What is decided about a value that was not met before."""
        tag, vr, character_sets, parent, creator, people, scheme, big, says = where
        known = self._decided(
            Value(tag, vr, raw, character_sets, big), _Place(parent, people, scheme, says), creator
        )
        self._told.add(tag, known)
        return known

    def _noted(self, tag: int, replacement: Replacement) -> bytes | None:
        self._changes.append((replacement.change, tag))
        return replacement.new

    # --- deciding ---------------------------------------------------------------------------------------------

    def _is_of_people(self, scope: Scope) -> bool:
        above = scope.above or (scope.parent,)
        known = self._of_people.get(above)
        if known is None:
            known = self._of_people[above] = any(map(self._profile.speaks_of_people, above))
        return known

    def _decided(self, value: Value, place: _Place, creator: str) -> Replacement:
        if private.is_private(value.tag):
            decided = private.replacement(value, creator, self._knowledge)
        else:
            decided = self._public(value, place)
        return decided._replace(change="") if decided.new == value.raw else decided

    def _public(self, value: Value, place: _Place) -> Replacement:
        tag, vr, raw = value[:3]
        possible = public_vrs(tag)
        if vr not in possible and "UN" not in possible:
            if _hides(vr, possible):
                return replacing.MALFORMED
            if not possible & (_NUMBER_VRS | BINARY_VRS):
                vr = public_vr(tag)
        action = self._action(tag, vr, place)
        if not raw.strip(b"\0 ") and action not in (Action.REMOVE, Action.NEW_ID, Action.NEW_NAME):
            return Replacement(raw, "")
        if place.says.role is not Role.NOTHING and action in (Action.KEEP, Action.SHIFT):
            return replacing.content(action, value._replace(vr=vr), place.says, self._knowledge)
        return replacing.replacement(action, value._replace(vr=vr), self._knowledge)

    def _action(self, tag: int, vr: str, place: _Place) -> Action:
        """The profile's action, except where the place of the element says more."""
        parent = place.parent
        if vr in TEXT_VRS and place.of_people:
            return Action.DUMMY
        if tag in _CODES and vr in TEXT_VRS:
            return self._of_code(tag, vr, place)
        action = self._profile.action(tag, vr)
        if action is Action.REMOVE and (parent, tag) in _NEEDED_EMPTY:
            return Action.EMPTY
        if action is Action.REMOVE and tag in _PRESENTATION_CREATION and self._shows_presentation():
            return Action.DUMMY
        return action

    def _of_code(self, tag: int, vr: str, place: _Place) -> Action:
        """What a public scheme defines stays; a scheme of the site is text, and a meaning without a code was typed."""
        if _is_defined(place.scheme):
            return Action.KEEP
        return self._profile.of_typed_text(vr) if tag == CODE_MEANING and not place.scheme else Action.CHECK

    def _shows_presentation(self) -> bool:
        return self._sop_class.startswith(_PRESENTATION_STATE)


@lru_cache(maxsize=256)
def _is_defined(scheme: bytes) -> bool:
    """Whether PS3.16 Table 8-1 names the coding scheme."""
    return scheme.decode("latin_1") in read_words("coding_schemes.txt")


def _hides(vr: str, possible: Collection[str]) -> bool:
    """Whether a value with this VR cannot belong to an element that has one of the `possible` VRs."""
    if "SQ" in possible:
        return True
    if BINARY_VRS.intersection(possible):
        return vr not in _NUMBER_VRS | BINARY_VRS
    return bool(_NUMBER_VRS.intersection(possible)) and vr not in _NUMBER_VRS | {"UN"}
