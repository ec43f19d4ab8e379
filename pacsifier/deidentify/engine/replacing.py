"""What is written instead of a value, by the action of the profile: values in, values out.

`replacement` looks the action up in one table.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from pacsifier.deidentify.engine import dates, uids
from pacsifier.deidentify.engine.concepts import Role, Says
from pacsifier.deidentify.engine.descriptors import Remark, Vocabulary
from pacsifier.deidentify.engine.identifiers import Identifiers, Matcher
from pacsifier.deidentify.engine.lexicon import lexicon
from pacsifier.deidentify.engine.profile import Action, Options, Profile
from pacsifier.deidentify.engine.subject import Subject
from pacsifier.dicom.text import decode_text, encode_like

REMOVED = "REMOVED"
BINARY_VRS = frozenset(("OB", "OW", "UN", "OD", "OF", "OL", "OV"))
_DUMMIES = {
    "DA": b"19000101",
    "TM": b"000000",
    "DT": b"19000101000000",
    "AS": b"000Y",
    "DS": b"0 ",
    "IS": b"0 ",
    "UL": bytes(4),
    "SL": bytes(4),
    "FL": bytes(4),
    **dict.fromkeys((*BINARY_VRS, "US", "SS"), bytes(2)),
}
# Dates of a content item: one may be the birth date.
_CONTENT_DATES = frozenset((0x0040A120, 0x0040A121, 0x0040A13A))
NUMERIC_VALUE = 0x0040A30A
CONTENT_NUMBERS = frozenset((0x0040A161, 0x0040A162, 0x0040A163))
"""What says the number of a content item once more, as FD or as a fraction; a text of it is always there."""
_UID_SIGNS = b"0123456789.\\ \0"
_NUMBER_SIGNS = b"0123456789+-eE. \\\0"
_CS = re.compile(rb"[A-Z0-9 _\\\0]*")
_DAY = re.compile(r"(?<![0-9.])\d{8}")
_NO_DAY = "19000101"
_CHARACTER_SETS = 0x00080005
_CHARACTER_SET = re.compile(
    rb"(?i) *(?:ISO[ _-]?(?:2022[ _-]?)?IR[ _-]?\d{1,3}|GB18030|GBK|"
    rb"(?:ISO[ _-]?)?8859(?:[ _-]\d{1,2})?|UTF[ _-]?8)? *"
)


@dataclass(frozen=True)
class Knowledge:
    """What a replacement may depend on beside the value: the profile, the secret, and what is known of the patient."""

    profile: Profile
    secret: bytes
    subject: Subject
    vocabulary: Vocabulary
    matcher: Matcher

    @cached_property
    def made(self) -> Matcher:
        """Finds the patient in what machines write; a name that is a word of theirs, only beside the other names."""
        return self._of_machines(self.subject.known.in_made_text(lexicon().is_technical))

    @cached_property
    def dates_only(self) -> Matcher:
        """Finds the patient's days, which no maker defines."""
        return self._of_machines(Identifiers(days=self.subject.known.days))

    def _of_machines(self, known: Identifiers) -> Matcher:
        return Matcher(known, self.matcher.moved_days, self.matcher.shift_days, typed=False)

    @property
    def options(self) -> Options:
        """What the user chose."""
        return self.profile.options


class Value(NamedTuple):
    """The value of an element, and how it is written: character sets, and whether in big endian."""

    tag: int
    vr: str
    raw: bytes
    character_sets: bytes = b""
    big: bool = False


class Said(NamedTuple):
    """What there is to say of a description: its text before and after, and remarks on its words."""

    before: str
    after: str
    remarks: tuple[Remark, ...] = ()


class Replacement(NamedTuple):
    """What is written (None: the element goes), the kind of change ("": none), and what is said of a description."""

    new: bytes | None
    change: str
    said: Said | None = None


GONE = Replacement(None, "removed")
EMPTY = Replacement(b"", "emptied")
MALFORMED = Replacement(b"", "malformed")


def replacement(action: Action, value: Value, knowledge: Knowledge) -> Replacement:
    """What is written instead of a value under an action of the profile."""
    return _BY_ACTION[action](value, knowledge)


def new_uid(old: str, secret: bytes) -> str:
    """The new UID of an old one; the standard's own UIDs stay."""
    return old if not old or old in uids.registered() else uids.new_uid(secret, old)


# --- by action ----------------------------------------------------------------------------------------------------


def _kept(value: Value, knowledge: Knowledge) -> Replacement:
    """The value itself, if it is valid for its VR."""
    if value.tag in _CONTENT_DATES and (moved := known_days_moved(value.raw, knowledge.subject)):
        return Replacement(moved, "replaced")
    if value.vr == "CS" and value.tag != _CHARACTER_SETS and not _CS.fullmatch(value.raw):
        return _cleaned_code(value, knowledge)
    if value.vr in ("DS", "IS") and (known := knowledge.matcher.numbers_moved(value.raw)):
        return Replacement(padded(known), "replaced")
    return Replacement(value.raw, "") if _is_valid(value) else MALFORMED


def _is_valid(value: Value) -> bool:
    """Whether the value is valid for its VR; texts and binary values always are."""
    tag, vr, raw = value[:3]
    if vr in ("DS", "IS"):
        return is_number(raw)
    if vr == "UI":
        return not raw.translate(None, _UID_SIGNS)
    if vr == "TM":
        return dates.valid_time(raw)
    if vr in ("DA", "DT"):
        return shifted(vr, raw, 0) is not None
    if tag == _CHARACTER_SETS:
        return all(_CHARACTER_SET.fullmatch(term) for term in raw.strip(b" \0").split(b"\\"))
    return True


def _cleaned_code(value: Value, knowledge: Knowledge) -> Replacement:
    """A code string with characters that no code has was typed by a person: cleaned word by word."""
    text, _ = knowledge.vocabulary.clean(decode_text(value.raw, value.character_sets), knowledge.matcher)
    same = text.strip() == value.raw.decode("latin_1").strip()
    return Replacement(encoded(text, value.raw, value.character_sets), "" if same else "malformed")


def _dummy(value: Value, knowledge: Knowledge) -> Replacement:
    if value.vr == "UI":
        return mapped_uids(value, knowledge)
    return Replacement(_DUMMIES.get(value.vr, padded(REMOVED)), "replaced")


def mapped_uids(value: Value, knowledge: Knowledge) -> Replacement:
    """The value with every UID replaced by its new one."""
    olds = value.raw.decode("latin_1").split("\\")
    news = [new_uid(old.strip(" \0"), knowledge.secret) for old in olds]
    new = "\\".join(news).encode("latin_1")
    return Replacement(new + b"\0" * (len(new) % 2), "replaced")


def shifted_dates(value: Value, knowledge: Knowledge) -> Replacement:
    """The value with every date moved by the patient's shift."""
    if value.tag in _CONTENT_DATES and (known := known_days_moved(value.raw, knowledge.subject)):
        return Replacement(known, "replaced")
    return _moved(value, knowledge.subject.date_shift_days)


def _birth_date(value: Value, knowledge: Knowledge) -> Replacement:
    subject = knowledge.subject
    # Another form than DA may be read as another day, and part of a date moves to another year or stays.
    moved = _moved(value, subject.birth_shift_days)
    emptied = subject.birth_date_emptied or not dates.is_full_date(_unpadded(value.raw))
    return EMPTY if emptied and moved.new else moved


def _moved(value: Value, days: int) -> Replacement:
    moved = shifted(value.vr, value.raw, days)
    return MALFORMED if moved is None else Replacement(padded(moved), "replaced")


def _age(value: Value, knowledge: Knowledge) -> Replacement:  # noqa: ARG001
    capped = dates.capped_age(_unpadded(value.raw))
    return MALFORMED if capped is None else Replacement(padded(capped), "replaced")


def _derived(value: Value, knowledge: Knowledge) -> Replacement:
    return Replacement(padded(uids.derived_name(knowledge.secret, _unpadded(value.raw))), "replaced")


def _cleaned(value: Value, knowledge: Knowledge) -> Replacement:
    """A description without the words that are not allowed; the profile's fallback if none is left."""
    values = decode_text(value.raw, value.character_sets).rstrip("\0 ").split("\\")
    cleaned = [knowledge.vocabulary.clean(each, knowledge.matcher) for each in values]
    texts = [each.text for each in cleaned]
    remarks = tuple(remark for each in cleaned for remark in each.remarks)
    said = Said("\\".join(values), "\\".join(texts), remarks)
    if texts == values:
        return Replacement(value.raw, "", said)
    if any(texts):
        return Replacement(encoded(said.after, value.raw, value.character_sets), "cleaned", said)
    return replacement(knowledge.profile.fallback(value.tag), value, knowledge)._replace(said=said)


def _checked(value: Value, knowledge: Knowledge) -> Replacement:
    """A text without the known identifiers and old UIDs in it."""
    return _without(value, knowledge, knowledge.matcher)


def _checked_made(value: Value, knowledge: Knowledge) -> Replacement:
    """The same for a text that a machine has made."""
    return _without(value, knowledge, knowledge.made)


def _constant(value: Value, knowledge: Knowledge) -> Replacement:
    found = knowledge.dates_only.spans(decode_text(value.raw, value.character_sets))
    return _without(value, knowledge, knowledge.dates_only) if found else Replacement(value.raw, "")


def _without(value: Value, knowledge: Knowledge, matcher: Matcher) -> Replacement:
    raw = value.raw
    if not knowledge.options.retain_uids:
        raw = uids.replace_in_bytes(raw, knowledge.secret)
    text = decode_text(raw, value.character_sets)
    new = "\\".join(matcher.without(each) for each in text.split("\\"))
    if new == text:
        return Replacement(raw, "cleaned")
    left = new.strip(" \0\\")
    return Replacement(encoded(new, raw, value.character_sets) if left else padded(REMOVED), "cleaned")


def content(action: Action, value: Value, says: Says, knowledge: Knowledge) -> Replacement:
    """What is written in a content item that says of somebody what attributes of the header say.

    `action` is the profile's, for what the item has beside it.
    """
    if says.role is Role.BIRTH_DATE:
        if value.vr not in ("DA", "DT"):
            return replacement(action, value, knowledge)
        known = known_days_moved(value.raw, knowledge.subject)
        return Replacement(known, "replaced") if known else _dummy(value, knowledge)
    if value.tag in CONTENT_NUMBERS:
        return GONE
    if value.tag != NUMERIC_VALUE:
        return replacement(action, value, knowledge)
    number = dates.capped_number(_unpadded(value.raw), says.unit) if says.role is Role.AGE else None
    return _dummy(value, knowledge) if number is None else Replacement(padded(number), "replaced")


_BY_ACTION: Mapping[Action, Callable[[Value, Knowledge], Replacement]] = {
    Action.KEEP: _kept,
    Action.DESCEND: _kept,
    Action.REMOVE: lambda value, knowledge: GONE,  # noqa: ARG005
    Action.EMPTY: lambda value, knowledge: EMPTY,  # noqa: ARG005
    Action.DUMMY: _dummy,
    Action.UID: mapped_uids,
    Action.SHIFT: shifted_dates,
    Action.CLEAN: _cleaned,
    Action.CHECK: _checked,
    Action.CONSTANT: _constant,
    Action.CHECK_MADE: _checked_made,
    Action.DERIVE: _derived,
    Action.NEW_ID: lambda value, knowledge: _pseudonym(knowledge.subject.new_id),  # noqa: ARG005
    Action.NEW_NAME: lambda value, knowledge: _pseudonym(f"{knowledge.subject.new_id}^sub"),  # noqa: ARG005
    Action.BIRTH_DATE: _birth_date,
    Action.AGE: _age,
}


def _pseudonym(text: str) -> Replacement:
    return Replacement(padded(text), "replaced")


# --- values and texts ---------------------------------------------------------------------------------------------


def known_days_moved(raw: bytes, subject: Subject) -> bytes:
    """Dates or datetimes moved, if one of them is a known day of the patient; else b""."""
    days, hits = subject.moved_days, []

    def moved(match: re.Match[str]) -> str:
        day = match[0]
        if day in days:
            hits.append(day)
            return days[day] if days[day].strip("0") else _NO_DAY
        return dates.shift_date(day, subject.date_shift_days) or day

    text = _DAY.sub(moved, _unpadded(raw))
    return padded(text) if hits else b""


def shifted(vr: str, raw: bytes, days: int) -> str | None:
    """Every date (DA) or datetime of a value moved by some days; None if one of them is not a date."""
    shift = dates.shift_date if vr == "DA" else dates.shift_datetime
    values = [value.strip() for value in raw.decode("latin_1").rstrip("\0").split("\\")]
    moved = [value and shift(value, days) for value in values]
    return None if None in moved else "\\".join(value or "" for value in moved)


def is_number(raw: bytes) -> bool:
    """Whether a DS or IS holds only numbers and their separators."""
    return not raw.translate(None, _NUMBER_SIGNS)


def padded(text: str) -> bytes:
    """The text as ASCII, padded to even length."""
    raw = text.encode("ascii", "replace")
    return raw + b" " * (len(raw) % 2)


def encoded(text: str, raw: bytes, character_sets: bytes) -> bytes:
    """The changed text in the character sets of the old value, padded to even length."""
    new = encode_like(text, raw, character_sets)
    return new + b" " * (len(new) % 2)


def _unpadded(raw: bytes) -> str:
    return raw.decode("latin_1").strip(" \0")
