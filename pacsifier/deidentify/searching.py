"""What the proof looks for in values and in bytes: what is known of one patient, as the rules for each kind say.

What a maker or the standard defines holds no identifier; numbers stand alone; what was written by us is no hit.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import cached_property

from pacsifier.deidentify.engine import dates
from pacsifier.deidentify.engine.descriptors import telling
from pacsifier.deidentify.engine.dictionary import keyword
from pacsifier.deidentify.engine.folding import fold_for_search
from pacsifier.deidentify.engine.identifiers import SHORTEST_IN_BYTES, Identifiers, Matcher
from pacsifier.deidentify.engine.lexicon import lexicon
from pacsifier.deidentify.engine.private_constants import is_constant
from pacsifier.deidentify.engine.profile import read_words
from pacsifier.deidentify.engine.subject import Subject
from pacsifier.disk.names import slug

# Where a UID may be in other bytes: its first two points. What stands before is looked at there, which costs headers
# of 64 kB a fifth of a search that begins with digits.
_POINTS = re.compile(rb"\.[0-9]+\.[0-9][0-9.]*")
_DIGITS_BEFORE = re.compile(rb"[0-9]+\Z")
_LONGEST_COMPONENT = 64
_UIDS = re.compile(rb"[0-9.\\ \0]*")
TEXT_VRS = frozenset(("LO", "SH", "ST", "LT", "UT", "UC", "UR", "PN", "AE"))
BYTES = frozenset(("UN", "OB", "OW"))
_LONGEST_TEXT, _IN_TEXT = 1024, b"\t\n\r\x1b"  # of bytes that are searched as text
_MADE_VRS = frozenset(("CS", "TM", "AS"))
# Of a code: the value in its three forms, the scheme, the meaning.
_CODED = frozenset((0x00080100, 0x00080119, 0x00080120, 0x00080102, 0x00080104))
_CODES_BY_NAME = frozenset(
    ("CodeValue", "CodeMeaning", "CodingSchemeDesignator", "LongCodeValue", "URNCodeValue")
)
# The marks that de-identification itself sets.
_MARKS = frozenset((0x00120063, 0x00120064))
_REMOVED = "removed"
_WORD, _DAY, _WHOLE = "known identifier", "known date", "known identifier, as a whole"
OLD_UID = "old UID"


class _Kind:
    """Finds words and days of a patient in one kind of text."""

    def __init__(self, known: Identifiers, *, typed: bool = False) -> None:
        self._known = known
        self._typed = typed
        self.both = Matcher(known, {}, typed=typed)

    @cached_property
    def words(self) -> Matcher:
        """Words alone, where something was found."""
        return Matcher(replace(self._known, days=set()), {})

    @cached_property
    def days(self) -> Matcher:
        """Days alone."""
        return Matcher(Identifiers(days=self._known.days), {}, typed=self._typed)

    def in_text(self, text: str) -> Iterator[str]:
        """The kinds of what is known in a text."""
        whole = fold_for_search(text).strip() in self._known.wholes
        if not whole and not self.both.spans(text):
            return
        if whole:
            yield _WHOLE
        elif telling(text, self.words.spans(text)):
            yield _WORD
        if self.days.spans(text):
            yield _DAY

    def kinds_of(self, needle: bytes) -> Iterator[str]:
        """The kinds of what was found in bytes."""
        for matcher, kind in ((self.words, _WORD), (self.days, _DAY)):
            if needle in matcher.needles:
                yield kind


_NOTHING = _Kind(Identifiers())


class Search:
    """Looks for what is known of one patient; `old_uids` are those of everybody."""

    def __init__(self, subject: Subject, old_uids: frozenset[bytes]) -> None:
        self.subject = subject
        # Where one known day moved to another one, nobody can tell which of them stands there.
        known = replace(subject.known, days=subject.known.days - set(subject.moved_days.values()))
        self._typed = _Kind(known, typed=True)
        self._made = _Kind(known.in_made_text(lexicon().is_technical))
        self._defined = _Kind(Identifiers(days=known.days))
        self._known = known
        self._births = known.births & known.days
        new = subject.new_id
        self._new = {fold_for_search(each) for each in (new, f"{new}^sub", slug(new))}
        self._telling_new = [
            each for each in self._new if self._typed.both.spans(each) and self._typed.words.spans(each)
        ]
        self._old_uids = old_uids

    def in_name(self, name: str, uids: Iterable[str]) -> Iterator[str]:
        """The kinds of what is known in the name of a file; its own UIDs are in it, and are searched by themselves."""
        for uid in uids:
            name = name.replace(uid, " ") if uid else name
        yield from self._typed.in_text(self._without_new(fold_for_search(name.replace("/", " "))))

    def in_value(
        self, tag: int, vr: str, values: Sequence[str | bytes], scheme: str, creator: str
    ) -> tuple[tuple[str, ...], bytes]:
        """The kinds of hits in a value, and the text of it in which the raw bytes may have what is known.

        `scheme` is the coding scheme of its item, `creator` that of its private block; "" for none.
        """
        texts = [each for each in values if isinstance(each, str)]
        written = "\0".join(texts).lower().encode("utf_8", "replace")
        if vr == "UI" and is_uids(written):
            return (OLD_UID,) if self.has_old_uid(written.split(b"\0")) else (), written
        kind = self._typed if vr == "UI" else self._kind_of(tag, vr, scheme, creator)
        if kind is None:
            return self._in_numbers(tag, vr, texts), written
        texts += [each.decode("latin_1") for each in values if isinstance(each, bytes) and _is_text(each)]
        hits = {
            hit
            for text in texts
            if (folded := fold_for_search(text).strip()) and folded not in self._new and folded != _REMOVED
            for hit in kind.in_text(self._without_new(text))
        }
        return tuple(sorted(hits)), b"" if kind is self._typed else written

    def in_bytes(self, raw: bytes, exempt: Sequence[bytes] = ()) -> set[str]:
        """The kinds of what stands in bytes more often than in the texts of them where it may stand."""
        searched, needles = raw, self._made.both.needles
        if self._telling_new:
            searched = raw.lower()
            for each in map(str.encode, self._telling_new):
                searched = searched.replace(each, bytes(len(each)))
        found = Counter(searched[start:stop].lower() for start, stop in needles.spans(searched))
        if found:
            allowed = b"\0".join(exempt)
            found -= Counter(allowed[start:stop] for start, stop in needles.spans(allowed))
        kinds = {kind for needle in found for kind in self._made.kinds_of(needle)}
        return kinds | {OLD_UID} if self.has_old_uid(uids_in(raw)) else kinds

    def has_old_uid(self, uids: Collection[bytes]) -> bool:
        """Whether one of them is a UID of the input."""
        return not self._old_uids.isdisjoint(uids)

    def _kind_of(self, tag: int, vr: str, scheme: str, creator: str) -> _Kind | None:
        """What is looked for in a value; None where it is no text."""
        if tag & 0x10000:
            return self._kind_of_private(tag, vr, creator)
        if vr not in TEXT_VRS:
            return None
        if tag in _MARKS or (tag in _CODED and scheme in read_words("coding_schemes.txt")):
            return _NOTHING
        if keyword(tag) in read_words("constants.txt"):
            return self._defined
        return self._made if keyword(tag) in read_words("kept_text.txt") - _CODES_BY_NAME else self._typed

    def _kind_of_private(self, tag: int, vr: str, creator: str) -> _Kind | None:
        if 0x10 <= tag & 0xFFFF <= 0xFF and vr in ("LO", "UN"):
            return _NOTHING
        if is_constant(tag, vr, creator):
            return self._defined
        return self._typed if vr in TEXT_VRS | BYTES else self._made if vr in _MADE_VRS else None

    def _in_numbers(self, tag: int, vr: str, texts: Sequence[str]) -> tuple[str, ...]:
        """Days and long identifiers among private numbers; a birth date among dates. A short number is a measure."""
        if vr in ("DA", "DT"):
            return (_DAY,) if any(text[:8] in self._births for text in texts) else ()
        if not tag & 0x10000:
            return ()
        hits = set()
        for text in (each.removesuffix(".0") for each in texts):
            if dates.DAY_AS_NUMBER.fullmatch(text) and text[:8] in self._known.days:
                hits.add(_DAY)
            elif len(text) >= SHORTEST_IN_BYTES and vr in ("DS", "IS") and text in self._known.words:
                hits.add(_WORD)
        return tuple(sorted(hits))

    def _without_new(self, text: str) -> str:
        """The text without the pseudonym: a user may insist on one that holds the PatientID."""
        folded = fold_for_search(text) if self._telling_new else ""
        if len(folded) == len(text):
            for new in self._telling_new:
                at = folded.find(new)
                if at >= 0:
                    text = text[:at] + " " * len(new) + text[at + len(new) :]
        return text


def is_uids(raw: bytes) -> bool:
    """Whether a value of VR UI has nothing but UIDs in it."""
    return _UIDS.fullmatch(raw) is not None


def _is_text(raw: bytes) -> bool:
    body = raw.rstrip(b"\0 ")
    return 0 < len(body) <= _LONGEST_TEXT and not any(each < 32 and each not in _IN_TEXT for each in body)


def uids_in(raw: bytes) -> set[bytes]:
    """What has the form of a UID of three components or more, as long as it goes."""
    found: set[bytes] = set()
    for match in _POINTS.finditer(raw) if raw.count(b".") > 1 else ():
        before = _DIGITS_BEFORE.search(raw, max(match.start() - _LONGEST_COMPONENT, 0), match.start())
        run = before[0] + match[0] if before else match[0]
        found.update(each.strip(b".") for each in run.split(b".."))
    return {each for each in found if each.count(b".") > 1}
