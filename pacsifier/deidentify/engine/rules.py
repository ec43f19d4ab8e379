"""What is written instead of a value: by the profile, the pseudonym, the shift, and what is known of the patient."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from dataclasses import dataclass, field

from pacsifier.deidentify.engine import dates, uids
from pacsifier.deidentify.engine.descriptors import Vocabulary
from pacsifier.deidentify.engine.dictionary import public_vr, public_vrs
from pacsifier.deidentify.engine.elements import Outcome, Scope
from pacsifier.deidentify.engine.identifiers import SHORTEST_IN_BYTES, Identifiers, Matcher
from pacsifier.deidentify.engine.profile import TEXT_VRS, Action, Options, Profile, safe_private
from pacsifier.dicom import part10
from pacsifier.dicom.part10 import Coding

REMOVED = "REMOVED"
_DUMMIES = {
    "DA": b"19000101",
    "TM": b"000000",
    "DT": b"19000101000000",
    "AS": b"000Y",
    "DS": b"0 ",
    "IS": b"0 ",
}
_BINARY_VRS = frozenset(("OB", "OW", "UN", "OD", "OF", "OL", "OV"))
_NUMBER_VRS = frozenset(("US", "SS", "UL", "SL", "SV", "UV", "FL", "FD", "AT"))
# Dates of a content item: they may say when the subject was born.
_CONTENT_DATES = frozenset((0x0040A120, 0x0040A121, 0x0040A13A))
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
_MEMO_LIMIT_BYTES = 1 << 24
_MEMO_ENTRY_BYTES = 400  # of Python's objects, beside the value itself
_MEMO_BYTES = 1 << 13
_CHUNK = 1 << 20

# The codes in these name an institution or a person.
_IDENTIFYING_CODES = frozenset((0x00080082, 0x00401101))
# Of type 2 there, so empty instead of gone.
_NEEDED_EMPTY = frozenset(((0x0040A370, 0x00401001), (0x0040A370, 0x00081110)))
# Of type 1 in presentation states, which the table removes for the sake of the others.
_PRESENTATION_STATE = "1.2.840.10008.5.1.4.1.1.11."
_PRESENTATION_CREATION = frozenset((0x00700082, 0x00700083))


@dataclass(frozen=True)
class Subject:
    """A patient as the engine needs it: who it becomes, how far the dates move, and what is known.

    `date_shift_days` moves the dates of the images (0: they stay), `birth_shift_days` the birth date;
    `moved_days` maps every known day of the patient to what is written instead.
    """

    key: str
    new_id: str
    date_shift_days: int
    birth_shift_days: int
    birth_date_emptied: bool
    known: Identifiers = field(compare=False)
    moved_days: dict[str, str] = field(compare=False, default_factory=dict)


CHANGES = ("removed", "emptied", "replaced", "cleaned", "malformed")
"""The kinds of what may be done to an element."""

Result = tuple[bytes | None, str]


class Rules:
    """Decides about every element of one patient's files; a `Visitor` of `elements` and of `reference`."""

    def __init__(self, profile: Profile, secret: bytes, subject: Subject, vocabulary: Vocabulary) -> None:
        self.profile, self.subject, self.vocabulary = profile, subject, vocabulary
        self.options: Options = profile.options
        self.changes: list[tuple[str, int]] = []
        self.dropped_words: dict[tuple[int, str], None] = {}
        self._secret = secret
        self._sop_class = ""
        self._memo_bytes = 0
        self._matcher = Matcher(subject.known, subject.moved_days)
        self._memo: dict[tuple[int, str, bytes, bytes, int, str], Result] = {}
        self._memories: dict[tuple[Coding, bytes, str], dict[bytes, Outcome]] = {}
        self._plain: dict[tuple[int, bytes], bool] = {}
        self._actions: dict[Action, Callable[[int, str, bytes, Scope], Result]] = {
            Action.REMOVE: lambda *_: (None, "removed"),
            Action.EMPTY: lambda *_: (b"", "emptied"),
            Action.KEEP: self._keep,
            Action.DESCEND: self._keep,
            Action.DUMMY: self._dummy,
            Action.UID: self._map_uids,
            Action.SHIFT: self._shift,
            Action.CLEAN: self._clean,
            Action.CHECK: self._check,
            Action.DERIVE: self._derive,
            Action.NEW_ID: lambda *_: (_padded(subject.new_id), "replaced"),
            Action.NEW_NAME: lambda *_: (_padded(f"{subject.new_id}^sub"), "replaced"),
            Action.BIRTH_DATE: self._birth_date,
            Action.AGE: self._age,
        }

    def start(self, sop_class: str) -> None:
        """Begins a new file."""
        self.changes = []
        if sop_class != self._sop_class or self._memo_bytes > _MEMO_LIMIT_BYTES:
            self._sop_class = sop_class
            self._memo.clear()
            self._memories.clear()
            self._memo_bytes = 0

    # --- the visitor ------------------------------------------------------------------------------------------

    def notes(self) -> list[tuple[str, int]]:
        """What was done in this file: kind and tag in the order met; never values."""
        return self.changes

    def memory(self, coding: Coding, character_sets: bytes, creator: str) -> dict[bytes, Outcome]:
        """What became of whole elements of this patient's files of one class, under these circumstances."""
        return self._memories.setdefault((coding, character_sets, creator), {})

    def remember(self, memory: dict[bytes, Outcome], whole: bytes, outcome: Outcome) -> None:
        """Adds an element."""
        memory[whole] = outcome
        self._memo_bytes += 2 * len(whole) + _MEMO_ENTRY_BYTES

    def is_plain(self, tag: int, raw_vr: bytes) -> bool:
        """Whether an element with this tag and VR stays whatever it holds: public numbers."""
        plain = self._plain.get((tag, raw_vr))
        if plain is None:
            told = raw_vr.decode("latin_1")
            plain = self._plain[tag, raw_vr] = (not told or told in _NUMBER_VRS) and self._is_plain(tag)
        return plain

    def _is_plain(self, tag: int) -> bool:
        from pacsifier.deidentify.engine.elements import vr_of

        if tag & 0x10000 or tag & 0xFFFF == 0:
            return False
        vr = vr_of(tag, Scope(0, b""))
        return (
            vr in ("US", "SS", "UL", "SL", "FL", "FD", "AT") and self.profile.action(tag, vr) is Action.KEEP
        )

    def descends(self, tag: int, vr: str, raw: bytes, scope: Scope) -> bool | bytes | None:  # noqa: ARG002
        """Whether the items of a sequence are looked at; else what is written instead."""
        if tag & 0x10000:
            if self._bars_private(tag, scope):
                return self._noted(tag, (None, "removed"))
            return True
        action = self.profile.action(tag, "SQ")
        if action is Action.REMOVE and (scope.parent, tag) not in _NEEDED_EMPTY:
            return self._noted(tag, (None, "removed"))
        if action in (Action.REMOVE, Action.EMPTY):
            return self._noted(tag, (b"", "emptied")) if raw else False
        return bool(raw)

    def keeps_large(self, tag: int, vr: str, source: part10.Buffer, start: int, stop: int) -> bool:
        """Whether a value too large to be held stays: public by the profile, private where nothing known is in it."""
        if not tag & 0x10000:
            keeps = vr in _BINARY_VRS and self.profile.action(tag, vr) is Action.KEEP
        else:
            keeps = not self._bars_private(tag, Scope(0, b"")) and not self._is_found(source, start, stop)
        if not keeps:
            self.changes.append(("removed", tag))
        return keeps

    def value(self, tag: int, vr: str, raw: bytes, scope: Scope) -> bytes | None:
        """What is written instead of a value: the same object where it stays, None where the element goes."""
        creator = scope.creators.get(tag >> 16 << 8 | tag >> 8 & 0xFF, "") if tag & 0x10000 else ""
        key = (tag, vr, raw, scope.character_sets, scope.parent, creator)
        result = self._memo.get(key)
        if result is None:
            result = self._decide(tag, vr, raw, scope)
            if len(raw) <= _MEMO_BYTES:
                self._memo[key] = result
                self._memo_bytes += len(raw) + _MEMO_ENTRY_BYTES
        if result[1]:
            return self._noted(tag, result)
        return raw

    def _noted(self, tag: int, result: Result) -> bytes | None:
        self.changes.append((result[1], tag))
        return result[0]

    # --- deciding ---------------------------------------------------------------------------------------------

    def _decide(self, tag: int, vr: str, raw: bytes, scope: Scope) -> Result:
        if tag & 0x10000:
            new, kind = self._private(tag, vr, raw, scope)
        else:
            new, kind = self._public(tag, vr, raw, scope)
        return (new, kind) if new is None or new != raw else (raw, "")

    def _public(self, tag: int, vr: str, raw: bytes, scope: Scope) -> Result:
        own = public_vrs(tag)
        if vr not in own and "UN" not in own:
            if _hides(vr, own):
                return b"", "malformed"
            if not own & (_NUMBER_VRS | _BINARY_VRS):
                vr = public_vr(tag)
        action = self.profile.action(tag, vr)
        if vr in TEXT_VRS and scope.parent in _IDENTIFYING_CODES:
            action = Action.DUMMY
        if action is Action.REMOVE and (scope.parent, tag) in _NEEDED_EMPTY:
            action = Action.EMPTY
        if action is Action.REMOVE and tag in _PRESENTATION_CREATION and self._shows_presentation():
            action = Action.DUMMY
        if not raw.strip(b"\0 ") and action not in (Action.REMOVE, Action.NEW_ID, Action.NEW_NAME):
            return raw, ""
        return self._actions[action](tag, vr, raw, scope)

    def _shows_presentation(self) -> bool:
        return self._sop_class.startswith(_PRESENTATION_STATE)

    def _keep(self, tag: int, vr: str, raw: bytes, scope: Scope) -> Result:
        """A value that stays, if it is one of its VR at all."""
        if tag in _CONTENT_DATES and (moved := self._known_days_moved(raw)):
            return moved, "replaced"
        if vr in ("DS", "IS"):
            valid = not raw.translate(None, _NUMBER_SIGNS)
        elif vr == "UI":
            valid = not raw.translate(None, _UID_SIGNS)
        elif vr == "TM":
            valid = dates.valid_time(raw)
        elif vr in ("DA", "DT"):
            valid = self._moved(vr, raw, 0) is not None
        elif tag == _CHARACTER_SETS:
            valid = all(_CHARACTER_SET.fullmatch(term) for term in raw.strip(b" \0").split(b"\\"))
        elif vr == "CS":
            return (raw, "") if _CS.fullmatch(raw) else self._clean_malformed(raw, scope)
        else:
            valid = True
        return (raw, "") if valid else (b"", "malformed")

    def _clean_malformed(self, raw: bytes, scope: Scope) -> Result:
        text, _ = self.vocabulary.clean(part10.decode_text(raw, scope.character_sets), self._matcher)
        return _encoded(text, raw, scope), "malformed" if text.strip() != raw.decode(
            "latin_1"
        ).strip() else ""

    def _dummy(self, _tag: int, vr: str, raw: bytes, _scope: Scope) -> Result:
        if vr == "UI":
            return self._map_uids(_tag, vr, raw, _scope)
        if vr in _BINARY_VRS or vr in ("US", "SS"):
            return b"\0\0", "replaced"
        if vr in ("UL", "SL", "FL"):
            return bytes(4), "replaced"
        return _DUMMIES.get(vr, _padded(REMOVED)), "replaced"

    def _map_uids(self, _tag: int, _vr: str, raw: bytes, _scope: Scope) -> Result:
        olds = raw.decode("latin_1").split("\\")
        news = [self.new_uid(old.strip(" \0")) for old in olds]
        new = "\\".join(news).encode("latin_1")
        return new + b"\0" * (len(new) % 2), "replaced"

    def new_uid(self, old: str) -> str:
        """The new UID of an old one; that of the standard's own UIDs is the old one."""
        return old if not old or old in uids.registered() else uids.new_uid(self._secret, old)

    def _known_days_moved(self, raw: bytes) -> bytes:
        """A date, datetime or several, in which a known day of the patient stands, moved; b"" where none does."""
        days, hits = self.subject.moved_days, []

        def moved(match: re.Match[str]) -> str:
            day = match[0]
            if day in days:
                hits.append(day)
                return days[day] if days[day].strip("0") else _NO_DAY
            return dates.shift_date(day, self.subject.date_shift_days) or day

        text = _DAY.sub(moved, raw.decode("latin_1").strip(" \0"))
        return _padded(text) if hits else b""

    def _shift(self, _tag: int, vr: str, raw: bytes, _scope: Scope) -> Result:
        if _tag in _CONTENT_DATES and (known := self._known_days_moved(raw)):
            return known, "replaced"
        moved = self._moved(vr, raw, self.subject.date_shift_days)
        return (b"", "malformed") if moved is None else (_padded(moved), "replaced")

    def _moved(self, vr: str, raw: bytes, days: int) -> str | None:
        shift = dates.shift_date if vr == "DA" else dates.shift_datetime
        values = [value.strip() for value in raw.decode("latin_1").rstrip("\0").split("\\")]
        moved = [value and shift(value, days) for value in values]
        return None if None in moved else "\\".join(value or "" for value in moved)

    def _birth_date(self, _tag: int, vr: str, raw: bytes, _scope: Scope) -> Result:
        if self.subject.birth_date_emptied:
            return b"", "emptied"
        moved = self._moved(vr, raw, self.subject.birth_shift_days)
        return (b"", "malformed") if moved is None else (_padded(moved), "replaced")

    def _age(self, _tag: int, _vr: str, raw: bytes, _scope: Scope) -> Result:
        capped = dates.capped_age(raw.decode("latin_1").strip(" \0"))
        return (b"", "malformed") if capped is None else (_padded(capped), "replaced")

    def _derive(self, _tag: int, _vr: str, raw: bytes, _scope: Scope) -> Result:
        return _padded(uids.derived_name(self._secret, raw.decode("latin_1").strip(" \0"))), "replaced"

    def _clean(self, tag: int, _vr: str, raw: bytes, scope: Scope) -> Result:
        values = part10.decode_text(raw, scope.character_sets).rstrip("\0 ").split("\\")
        cleaned = []
        for value in values:
            text, dropped = self.vocabulary.clean(value, self._matcher)
            cleaned.append(text)
            self.dropped_words.update(dict.fromkeys((tag, word) for word in dropped))
        if cleaned == values:
            return raw, ""
        if any(cleaned):
            return _encoded("\\".join(cleaned), raw, scope), "cleaned"
        return self._actions[self.profile.fallback(tag)](tag, _vr, raw, scope)

    def _check(self, _tag: int, _vr: str, raw: bytes, scope: Scope) -> Result:
        """A text that stays, without the known identifiers in it."""
        if not self.options.retain_uids:
            raw = uids.replace_in_bytes(raw, self._secret)
        text = part10.decode_text(raw, scope.character_sets)
        values = [self._matcher.without(value) for value in text.split("\\")]
        new = "\\".join(values)
        if new == text:
            return raw, "cleaned"
        return _encoded(new, raw, scope) if new.strip(" \0\\") else _padded(REMOVED), "cleaned"

    # --- private elements -------------------------------------------------------------------------------------

    def _bars_private(self, tag: int, scope: Scope) -> bool:
        if self.options.remove_private or tag & 0xFFFF == 0 or tag >> 16 < 8:
            return True
        if not self.options.safe_private:
            return False
        if tag & 0xFF00 == 0:
            return False
        creator = scope.creators.get(tag >> 16 << 8 | tag >> 8 & 0xFF, "")
        return (creator, tag >> 16, tag & 0xFF) not in safe_private()

    def _bars_creator(self, tag: int, raw: bytes) -> bool:
        """Whether this is the creator of a block of which nothing may stay."""
        if not self.options.safe_private or tag & 0xFF00:
            return False
        creators = {creator for creator, group, _ in safe_private() if group == tag >> 16}
        return raw.decode("latin_1").strip(" \0") not in creators

    def _private(self, tag: int, vr: str, raw: bytes, scope: Scope) -> Result:
        if self._bars_private(tag, scope) or self._bars_creator(tag, raw):
            return None, "removed"
        if vr in ("DA", "DT"):
            return self._private_date(tag, vr, raw, scope)
        if vr in _BINARY_VRS:
            return self._opaque(raw, scope)
        if vr == "UI" and not self.options.retain_uids:
            return self._map_uids(tag, vr, raw, scope)
        return self._private_text(vr, raw, scope)

    def _private_text(self, vr: str, raw: bytes, scope: Scope) -> Result:
        if vr == "PN":
            return b"", "emptied"
        if vr in ("DS", "IS") and not raw.translate(None, _NUMBER_SIGNS):
            return self._known_number(raw) or raw, "cleaned"
        is_text = vr in TEXT_VRS or vr in ("AE", "CS", "TM", "AS", "DS", "IS")
        return (self._masked_text(raw, scope), "cleaned") if is_text else (raw, "")

    def _known_number(self, raw: bytes) -> bytes | None:
        """What is written instead of a number that is, as a whole, an identifier or a day of the patient."""
        values = [value.strip() for value in raw.decode("latin_1").strip("\0").split("\\")]
        days, words = self.subject.moved_days, self.subject.known.words
        if not any(len(value) >= SHORTEST_IN_BYTES and (value in days or value in words) for value in values):
            return None
        return _padded(
            "\\".join(days.get(value, "0") if value in days or value in words else value for value in values)
        )

    def names_somebody(self, raw: bytes) -> bool:
        """Whether a known identifier stands in some bytes."""
        return self._matcher.mask_bytes(raw) is not raw

    def _private_date(self, tag: int, vr: str, raw: bytes, scope: Scope) -> Result:
        if known := self._known_days_moved(raw):
            return known, "replaced"
        if self.options.fuzz_dates or self.options.basic:
            return self._shift(tag, vr, raw, scope) if self.options.fuzz_dates else (b"", "emptied")
        return (raw, "") if self._moved(vr, raw, 0) is not None else (b"", "malformed")

    def _masked_text(self, raw: bytes, scope: Scope) -> bytes:
        """A private text at equal length, with known identifiers and old UIDs overwritten."""
        if not self.options.retain_uids:
            raw = uids.replace_in_bytes(raw, self._secret)
        text = part10.decode_text(raw, scope.character_sets)
        masked = self._matcher.masked(text)
        if masked != text:
            raw = _encoded(masked, raw, scope)
        return self._matcher.mask_bytes(raw)

    def _opaque(self, raw: bytes, scope: Scope) -> Result:
        """A private value of unknown structure: overwritten in place, no byte moves."""
        if not self.options.retain_uids:
            raw = uids.replace_in_bytes(raw, self._secret)
        new = self._matcher.mask_bytes(raw)
        if len(new) <= 1024 and _is_text(new):
            masked = self._masked_text(new, scope)
            new = masked if len(masked) == len(new) else new
        return new, "cleaned"

    def _is_found(self, source: part10.Buffer, start: int, stop: int) -> bool:
        for at in range(start, stop, _CHUNK):
            chunk = source[at : min(at + _CHUNK + 256, stop)]
            if self._matcher.mask_bytes(chunk) is not chunk:
                return True
            if not self.options.retain_uids and uids.replace_in_bytes(chunk, self._secret) != chunk:
                return True
        return False


def _is_text(raw: bytes) -> bool:
    body = raw.rstrip(b"\0 ")
    return bool(body) and not any(each < 32 and each not in (9, 10, 13, 27) for each in body)


def _hides(vr: str, own: Collection[str]) -> bool:
    """Whether a value under this VR cannot be what an element of one of the VRs `own` holds."""
    if "SQ" in own:
        return True
    if _BINARY_VRS.intersection(own):
        return vr not in _NUMBER_VRS | _BINARY_VRS
    return bool(_NUMBER_VRS.intersection(own)) and vr not in _NUMBER_VRS | {"UN"}


def _padded(text: str) -> bytes:
    raw = text.encode("ascii", "replace")
    return raw + b" " * (len(raw) % 2)


def _encoded(text: str, raw: bytes, scope: Scope) -> bytes:
    """A changed text in the character sets of the old one, padded to even length."""
    new = part10.encode_like(text, raw, scope.character_sets)
    return new + b" " * (len(new) % 2)
