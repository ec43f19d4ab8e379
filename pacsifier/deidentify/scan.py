"""The first look at a file: whose it is, where it belongs, and what identifies anybody in it.

Everything known of a patient must be known before the first of the patient's files is written.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from functools import lru_cache
from io import FileIO
from pathlib import Path
from typing import Any

from pacsifier.deidentify.engine import dates, elements
from pacsifier.deidentify.engine.concepts import Role
from pacsifier.deidentify.engine.descriptors import staff_words, titled_words, words
from pacsifier.deidentify.engine.elements import Scope, UnknownEncodingError, vr_of
from pacsifier.deidentify.engine.folding import fold_for_search
from pacsifier.deidentify.engine.identifiers import Identifiers, long_enough, words_of
from pacsifier.deidentify.engine.lexicon import lexicon
from pacsifier.deidentify.engine.pixels import overlay_bits
from pacsifier.deidentify.engine.profile import TEXT_VRS, Action, Profile
from pacsifier.deidentify.engine.reading import whole_instance
from pacsifier.deidentify.model import Facts, Reason
from pacsifier.dicom import part10
from pacsifier.dicom.kinds import why_not_opened
from pacsifier.dicom.part10 import Coding
from pacsifier.dicom.runs import Runs
from pacsifier.dicom.splice import UnreadableError
from pacsifier.dicom.text import decode_text

_TOP = {
    0x00080008: "image_type",
    0x00080064: "conversion",
    0x00080016: "sop_class",
    0x00080018: "sop_uid",
    0x00080020: "study_date",
    0x00080030: "study_time",
    0x00080060: "modality",
    0x0008103E: "series_description",
    0x00100010: "patient_name",
    0x00100020: "patient_id",
    0x00100021: "issuer",
    0x00100030: "birth_date",
    0x00101010: "age",
    0x00120062: "removed_before",
    0x00181030: "protocol",
    0x0020000D: "study_uid",
    0x0020000E: "series_uid",
    0x00200011: "series_number",
    0x00280301: "burned_in",
    0x00280302: "features",
    0x00480010: "label",
}
# Of the equipment of secondary capture (PS3.3 section C.8.6.1), hardcopies too.
_CAPTURE = frozenset((*range(0x00181010, 0x0018101C), 0x00181022, 0x00181023))
_PIXELS = frozenset((0x00287FE0, 0x7FE00008, 0x7FE00009, part10.PIXEL_DATA))
_DATES = (0x00080020, 0x00080021, 0x00080022, 0x00080023, 0x0008002A)
_CHARACTER_SETS = 0x00080005
_BIRTH_DATE = 0x00100030
_CONTENT_DATES = frozenset((0x0040A120, 0x0040A121))
_CONSTANTS = frozenset((0x00080070, 0x00081090))
_METHOD = 0x00120063
_WANTED = frozenset((*_TOP, *_DATES, _CHARACTER_SETS, _METHOD))
_SEEN_LIMIT, _SHOWN_LIMIT = 50_000, 10_000
_SHORT = 256  # bytes of a value whose text is kept for the next files
# The patient's own: matched whatever their length. The others count from 4 characters on.
_OWN_IDS = frozenset((0x00100020, 0x00101000, 0x00101090, 0x00102154, 0x00101050))
_OWN_NAMES = frozenset((0x00100010, 0x00101001, 0x00101005, 0x00101060))
_IDS = frozenset(
    (
        *(0x00080050, 0x00080094, 0x00100021, 0x00101040, 0x00102155, 0x00120040, 0x00120042, 0x00200010),
        *(0x00380010, 0x00380060, 0x00400009, 0x00400253, 0x00400551, 0x00401001, 0x00401006, 0x00401007),
        *(0x00401103, 0x00402010, 0x00402016, 0x00402017, 0x00080092, 0x00400512, 0x00102299),
    )
)
_DEVICE = frozenset((0x00081010, 0x00181000, 0x00181008, 0x00400242, 0x00400010, 0x00080055))
_INSTITUTION = frozenset((0x00080080, 0x00080081, 0x00081040, 0x00400243, 0x00100021))


@dataclass
class Gathered:
    """What a part of the input told about each person: identifiers, words of descriptions, UIDs.

    `barred_words` are words of names, IDs and institutions of everybody, `staff` the names of staff in descriptions.
    """

    known: dict[tuple[str, str], Identifiers] = field(default_factory=dict)
    words: dict[tuple[str, str], set[str]] = field(default_factory=dict)
    barred_words: set[str] = field(default_factory=set)
    staff: set[str] = field(default_factory=set)
    uids: set[str] = field(default_factory=set)

    def merge(self, other: Gathered) -> None:
        """Takes over everything that the other holds."""
        for person, known in other.known.items():
            self.known.setdefault(person, Identifiers()).merge(known)
        for person, found in other.words.items():
            self.words.setdefault(person, set()).update(found)
        self.barred_words |= other.barred_words
        self.staff |= other.staff
        self.uids |= other.uids


class Scanner:
    """Reads files one after another and remembers what it has seen."""

    def __init__(self, profile: Profile, *, with_uids: bool = False) -> None:
        self._profile, self._with_uids = profile, with_uids
        self._collectors: dict[tuple[str, str], _Collector] = {}
        self._new = Gathered()
        self._runs = Runs()

    def scan(self, folder: Path, name: str) -> Facts:
        """The facts of a file below the folder; that it cannot be read is one, too."""
        size = 0
        try:
            with FileIO(f"{folder}/{name}") as handle:
                size = os.fstat(handle.fileno()).st_size
                return self._read(name, size, whole_instance(handle, self._runs))
        except UnreadableError as error:
            return Facts(name, size, Reason.of(error))
        except OSError as error:
            why = why_not_opened(folder / name, error)
            is_folder = isinstance(error, IsADirectoryError)
            return Facts(name, size, Reason(why) if is_folder else Reason("cannot be read", why))

    def gathered(self) -> Gathered:
        """What was found since the last call."""
        new, self._new = self._new, Gathered()
        return new

    def _read(self, name: str, size: int, layout: part10.Layout) -> Facts:
        source, by_tag = layout.source, layout.by_tag
        raw = {tag: source[slice(*by_tag[tag][3:5])] for tag in by_tag.keys() & _WANTED}
        character_sets = raw.get(_CHARACTER_SETS, b"")
        texts: dict[str, Any] = {
            keyword: _text(raw[tag], character_sets) for tag, keyword in _TOP.items() if raw.get(tag)
        }
        days = (raw[tag].decode("latin_1").strip("\0 ")[:8] for tag in _DATES if raw.get(tag))
        unreachable = layout.is_compressed or (layout.deflated and part10.PIXEL_DATA in by_tag)
        facts = Facts(
            name,
            size,
            method=raw.get(_METHOD, b"").decode("latin_1"),
            days=tuple(dict.fromkeys(day for day in days if day)),
            transfer_syntax=layout.transfer_syntax,
            captured=any((layout.value(tag) or b"").strip(b"\0 ") for tag in by_tag.keys() & _CAPTURE),
            has_pixels=not by_tag.keys().isdisjoint(_PIXELS),
            overlay_stays=unreachable and overlay_bits(layout) != 0,
            **texts,
        )
        defect = self._collect(facts, layout)
        return replace(facts, defect=defect) if defect else facts

    def _collect(self, facts: Facts, layout: part10.Layout) -> Reason | None:
        """Remembers what identifies; returns why the file cannot be understood, or None."""
        collector = self._collectors.get(facts.person)
        if collector is None:
            collector = self._collectors[facts.person] = _Collector(self._profile, self._with_uids)
        collector.into(self._new, facts)
        try:
            elements.visit(layout, collector)
        except UnknownEncodingError:
            from pacsifier.deidentify.engine import reference

            try:
                reference.rewrite(layout, collector, [])
            except UnknownEncodingError as error:
                return Reason("not understood", f"not understood: {error}")
        return None


def _text(raw: bytes, character_sets: bytes) -> str:
    """A value without its padding; the files of a series share most of them, and one text then stands for all."""
    if len(raw) > _SHORT:
        return decode_text(raw, character_sets).strip("\0 ")
    return _short_text(raw, character_sets)


@lru_cache(maxsize=1 << 12)
def _short_text(raw: bytes, character_sets: bytes) -> str:
    return decode_text(raw, character_sets).strip("\0 ")


class _Collector:
    """Visits the elements of one person's files and remembers what identifies; changes nothing."""

    def __init__(self, profile: Profile, with_uids: bool) -> None:
        self._profile, self._with_uids = profile, with_uids
        self._seen: set[tuple[int, bytes, bytes]] = set()
        self.plain: set[int] = set()
        self._interesting: set[int] = set()
        self._shown: dict[tuple[Coding, bytes], set[bytes]] = {}
        self._known, self._words = Identifiers(), set[str]()
        self._gathered = Gathered()

    def into(self, gathered: Gathered, facts: Facts) -> None:
        """Sets where findings go from now on, and adds the days of the file."""
        self._gathered = gathered
        self._known = gathered.known.setdefault(facts.person, Identifiers())
        self._words = gathered.words.setdefault(facts.person, set())
        self._add_birth_date(facts.birth_date)
        if self._profile.options.fuzz_dates or "full_dates" not in self._profile.options.columns:
            self._known.days.update(day for day in facts.days if dates.parse(day))

    def _add_birth_date(self, text: str) -> None:
        births = frozenset().union(*map(dates.readings, text.split("\\")))
        self._known.births |= births
        self._known.days |= births

    def is_plain(self, tag: int, raw_vr: bytes) -> bool:  # noqa: ARG002
        """Whether nothing about this tag is of interest."""
        if tag in self._interesting:
            return False
        plain = tag in self.plain or self._is_plain(tag)
        (self.plain if plain else self._interesting).add(tag)
        return plain

    def shown(self, coding: Coding, character_sets: bytes) -> set[bytes]:
        """The whole elements that it has seen with this coding and these character sets."""
        shown = self._shown.setdefault((coding, character_sets), set())
        if len(shown) > _SHOWN_LIMIT:
            shown.clear()
        return shown

    def _is_plain(self, tag: int) -> bool:
        if tag & 0x10000:
            return True
        vr = vr_of(tag, Scope(0, b""))
        if vr in ("PN", "SQ") or tag == _CHARACTER_SETS:
            return False
        if vr == "UI":
            return not self._with_uids or self._profile.action(tag, vr) is not Action.UID
        known = (
            tag in _CONSTANTS
            or tag == _BIRTH_DATE
            or tag in _CONTENT_DATES
            or tag in _OWN_IDS
            or tag in _IDS
            or tag in _DEVICE
            or tag in _INSTITUTION
        )
        return not known and not (vr in TEXT_VRS and self._profile.action(tag, vr) is Action.CLEAN)

    def descends(self, tag: int, vr: str, raw: bytes, scope: Scope) -> bool | bytes | None:  # noqa: ARG002
        """Whether the items were not seen before."""
        return self._is_new(tag, raw, scope)

    def keeps_large(self, tag: int, vr: str, source: part10.Buffer, start: int, stop: int) -> bool:  # noqa: ARG002
        """Nothing changes here."""
        return True

    def value(self, tag: int, vr: str, raw: bytes, scope: Scope) -> bytes | None:
        """Remembers what identifies."""
        if vr == "UI":
            olds = raw.decode("latin_1").split("\\")
            self._gathered.uids.update(old.strip(" \0") for old in olds)
        elif tag in _CONTENT_DATES:
            if scope.says.role is Role.BIRTH_DATE:
                self._add_birth_date(raw.decode("latin_1").strip(" \0"))
        elif self._is_new(tag, raw, scope) and tag != _CHARACTER_SETS:
            self._remember(tag, vr, raw, decode_text(raw, scope.character_sets).strip(" \0"))
        return raw

    def _is_new(self, tag: int, raw: bytes, scope: Scope) -> bool:
        key = (
            tag,
            raw if len(raw) < 1024 else hash(raw).to_bytes(8, "little", signed=True),
            scope.character_sets,
        )
        if not raw or key in self._seen:
            return False
        if len(self._seen) > _SEEN_LIMIT:
            self._seen.clear()
        self._seen.add(key)
        return True

    def _remember(self, tag: int, vr: str, raw: bytes, text: str) -> None:
        options = self._profile.options
        if vr == "PN":
            self._add_name(tag, raw, text)
            return
        if tag == _BIRTH_DATE:
            self._add_birth_date(text)
            return
        if tag in _CONSTANTS:
            self._known.constants |= words_of([text]) | {fold_for_search(text)}
            return
        for value in text.split("\\"):
            if tag in _OWN_IDS:
                self._known.add_id(value)
                self._known.add_coded(raw)
            elif (
                (tag in _IDS and not (tag in _INSTITUTION and options.retain_institution))
                or (tag in _DEVICE and not options.retain_device_identity)
                or (tag in _INSTITUTION and not options.retain_institution)
            ):
                self._add_other(value)
            if self._profile.action(tag, vr) is Action.CLEAN:
                self._words |= words(value)
                self._gathered.barred_words |= titled_words(value)
            else:
                self._gathered.barred_words |= words_of([value])

    def _add_name(self, tag: int, raw: bytes, text: str) -> None:
        self._known.add_coded(raw)
        self._gathered.barred_words |= words_of([text])
        if tag in _OWN_NAMES:
            for name in text.split("\\"):
                self._known.add_name(name)
            return
        staff = Identifiers()
        for name in text.split("\\"):
            staff.add_name(name)
        # A word that says what is imaged is not lost because somebody of the staff is called so.
        self._known.words |= {word for word in staff.words if not lexicon().is_technical(word)}
        met = staff_words(staff.people)
        self._known.people |= met
        self._gathered.staff |= met
        self._known.initials |= staff.initials

    def _add_other(self, value: str) -> None:
        folded = fold_for_search(value).strip()
        if long_enough(folded) and not lexicon().is_technical(folded):
            self._known.add_id(value)
