"""What is known of a patient: collected from the input first, then refused in every text and private value.

Words are compared folded: without accents, in lower case. A word counts from 4 characters on (2 in scripts that
write a name in so few), a shorter value only as the whole of another value; inside binary values from 6 bytes on.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from functools import cached_property

from ahocorasick_rs import BytesAhoCorasick

from pacsifier.deidentify.engine import dates
from pacsifier.deidentify.engine.folding import fold_character, fold_for_search
from pacsifier.deidentify.engine.lexicon import lexicon
from pacsifier.deidentify.engine.needles import Needles, Years

SHORTEST_WORD = 4
SHORTEST_IN_BYTES = 6
NEAR_DAYS = 366
_PARTS = re.compile(r"[^\W_]+(?:['\u2019\-.][^\W_]+)*")
_SIGNS = re.compile(r"[\W_]+")
_MASK = b"X"
# How people type letters that their keyboard lacks.
_SPELLED_OUT = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue", "ø": "oe", "å": "aa"})
_ENCODINGS = ("latin_1", "utf_8", "utf_16_le", "utf_16_be")
# Titles in names, which identify nobody.
_TITLES = frozenset(
    ("prof", "professor", "doctor", "docteur", "frau", "herr", "madame", "monsieur", "unknown", "anonymous")
)

_SHORT_TITLES = frozenset(
    ("dr", "mr", "ms", "mrs", "mme", "sr", "sra", "pd", "med", "md", "phd", "drs", "von", "van", "de", "di")
)


def _width(encoding: str) -> int:
    return 2 if encoding.startswith("utf_16") else 1


def _is_short(needle: bytes) -> bool:
    """Whether an encoded word may stand in other bytes by chance."""
    return len(needle) < SHORTEST_IN_BYTES * (1 + (b"\0" in needle))


def is_technical(word: str) -> bool:
    """Whether a folded word says how images are made: Head, Spin. Where it is short, machines mean no person by it."""
    return lexicon().is_technical(word)


def is_ideographic(text: str) -> bool:
    """Whether a text has letters of a script that writes a name in one or two."""
    return any(ord(each) >= 0x2E80 for each in text)


def long_enough(word: str) -> bool:
    """Whether a folded word is long enough to be looked for inside other text."""
    return len(word) >= (2 if is_ideographic(word) else SHORTEST_WORD)


def name_words(name: str) -> set[str]:
    """The folded words of a person's name: every part of every component, and each component as a whole."""
    words: set[str] = set()
    for component in re.split(r"[\^=\\,;]", fold_for_search(name)):
        whole = component.strip()
        if not whole:
            continue
        words.add(whole)
        for part in _PARTS.findall(whole):
            words.add(part)
            words.update(_SIGNS.split(part))
    return {word for word in words if word and word not in _TITLES}


def _spellings(name: str) -> set[str]:
    """A name as it stands, with umlauts spelled out, and with spelled umlauts as plain letters; folded."""
    lower = unicodedata.normalize("NFC", name).lower()
    plain = fold_for_search(name)
    return {plain, fold_for_search(lower.translate(_SPELLED_OUT)), re.sub("([aou])e", r"\1", plain)}


def _full_names(name: str) -> set[str]:
    """Family and given name of each component group, in either order; the pattern allows for what joins them."""
    groups = (group.split("^") for value in name.split("\\") for group in value.split("="))
    pairs = [(group[0].strip(), group[1].strip()) for group in groups if len(group) > 1]
    return {f"{one} {two}" for pair in pairs if all(pair) for one, two in (pair, pair[::-1])}


def _initials(name: str) -> set[str]:
    """Two and three letters by which people call somebody: family and given names in either order."""
    found: set[str] = set()
    for value in re.split(r"[\\=]", name):
        components = [_PARTS.findall(component) for component in value.split("^")[:3]]
        family, given = ("".join(part[0] for part in parts) for parts in (*components, [], [])[:2])
        middle = "".join(part[0] for part in components[2]) if len(components) > 2 else ""
        pairs = [(given, family), (family, given)]
        if family and given:
            found |= {one[0] + other[0] for one, other in pairs}
            found |= {given + middle + family, family + given + middle, given + family, family + given}
    return {each for each in found if len(each) in (2, 3)}


@dataclass
class Identifiers:
    """The known identifiers of one patient; all text folded.

    `words` are looked for inside text, `wholes` as a whole value only, `days` are DA strings, `births` those of them
    that are birth dates, `coded` are names as the input encodes them, `constants` words of makers and models. `people`
    and `initials` are for descriptions: name words of any length, of everybody met.
    """

    words: set[str] = field(default_factory=set)
    wholes: set[str] = field(default_factory=set)
    days: set[str] = field(default_factory=set)
    coded: set[bytes] = field(default_factory=set)
    births: set[str] = field(default_factory=set)
    constants: set[str] = field(default_factory=set)
    people: set[str] = field(default_factory=set)
    initials: set[str] = field(default_factory=set)

    def add_name(self, name: str) -> None:
        """Adds a person's name in DICOM's form, the patient's or anybody else's in the images."""
        for spelling in _spellings(name):
            for word in name_words(spelling) | _full_names(spelling):
                self._add(word)
            self.add_person(spelling)
        self._add(fold_for_search(name).strip().strip("^"))
        for part in () if name.isascii() else re.split(r"[\^=\\ ]+", name):
            for each in (part, *re.split("[-\u2010\u2011]", part)):
                self._add_encoded(each)

    def add_person(self, name: str) -> None:
        """Adds words and initials of a folded name, as descriptions may hold them."""
        self.people |= {word for word in name_words(name) if " " not in word} - _SHORT_TITLES
        self.initials |= _initials(name)

    def add_id(self, value: str) -> None:
        """Adds an identifier, phone number or serial number: matched as a whole word, whatever the punctuation."""
        word = fold_for_search(value).strip()
        self._add(word)
        if word.startswith("0") and len(word.lstrip("0")) >= SHORTEST_WORD:
            self._add(word.lstrip("0"))

    def _add_encoded(self, part: str) -> None:
        """Adds a part of a name in each case and encoding that private bytes may hold."""
        for form in () if part.isascii() else (part, part.upper(), part.lower(), part.title()):
            for encoding in _ENCODINGS:
                needle = form.encode(encoding, "ignore")
                if (
                    len(needle) >= SHORTEST_WORD * _width(encoding)
                    and len(form) >= SHORTEST_WORD
                    and needle.decode(encoding) == form
                ):
                    self.coded.add(needle.lower())

    def add_coded(self, raw: bytes) -> None:
        """Adds a name as the input encodes it, for names that are not ASCII."""
        if not raw.isascii():
            for part in re.split(rb"[\^=\\ \0]+", raw):
                self.coded |= {
                    each.lower() for each in (part, *part.split(b"-")) if len(each) >= SHORTEST_IN_BYTES
                }

    def _add(self, word: str) -> None:
        if not word or not any(each.isalnum() for each in word):
            return
        (self.words if long_enough(word) else self.wholes).add(word)

    def in_made_text(self, is_technical: Callable[[str], bool]) -> Identifiers:
        """What is looked for in what machines write: no word and no short number that they write of themselves."""
        words = {
            word
            for word in self.words
            if not (is_technical(word) or word in self.constants)
            and not (word.isdigit() and len(word) < SHORTEST_IN_BYTES)
        }
        return replace(self, words=words, wholes=set())

    def merge(self, other: Identifiers) -> None:
        """Adds everything that the other holds."""
        self.words |= other.words
        self.wholes |= other.wholes
        self.days |= other.days
        self.coded |= other.coded
        self.births |= other.births
        self.constants |= other.constants
        self.people |= other.people
        self.initials |= other.initials


# The same for bytes, as far as one byte stays one.
_FOLDED_BYTES = bytes(
    ord(folded) if len(folded) == 1 and ord(folded) < 256 else at
    for at, folded in ((at, fold_character(chr(at))) for at in range(256))
)


class Matcher:
    """Finds the known identifiers of one patient in text and in bytes.

    `moved_days` maps the patient's days to what is written instead, at equal length; other days near them move by
    `shift_days`, where that is not 0. Of what people have `typed` known days go with a year of two digits, too, which
    machines may mean as a version; in bytes that machines write, words of four and five letters as well.
    """

    def __init__(
        self,
        known: Identifiers,
        moved_days: dict[str, str],
        shift_days: int = 0,
        *,
        typed: bool = True,
    ) -> None:
        self.known = known
        self.moved_days = moved_days
        self.shift_days = shift_days
        self._typed = typed

    @cached_property
    def _day_marks(self) -> set[str]:
        return {mark for day in self.known.days for mark in dates.glued(day)}

    @cached_property
    def _full_days(self) -> frozenset[str]:
        """The known days as DA of today's form."""
        found = (dates.parse(day) for day in self.known.days)
        return frozenset(day.isoformat().replace("-", "") for day in found if day)

    @cached_property
    def _years(self) -> frozenset[str]:
        """The years of all days that are looked for."""
        years = {day[:4] for day in self._full_days}
        if self.shift_days:
            near = timedelta(NEAR_DAYS)
            for day in self._moving_days:
                years |= {str(year) for year in range((day - near).year, (day + near).year + 1)}
        return frozenset(years)

    @cached_property
    def _marks(self) -> list[str]:
        """What is looked for in texts, the longest first."""
        return sorted({*self.known.words, *self._day_marks}, key=len, reverse=True)

    @cached_property
    def _letters(self) -> BytesAhoCorasick | None:
        letters = [_SIGNS.sub("", mark).encode("utf_8", "replace") for mark in self._marks]
        return BytesAhoCorasick(letters) if letters else None

    def _possible(self, folded: str) -> list[str]:
        """The marks whose letters and digits are there: a pattern for all of them takes 30 ms to compile."""
        if self._letters is None:
            return []
        letters = _SIGNS.sub("", folded).encode("utf_8", "replace")
        found = self._letters.find_matches_as_indexes(letters, overlapping=True)
        return [self._marks[number] for number in sorted({number for number, _, _ in found})]

    def _pattern(self, marks: list[str]) -> re.Pattern[str]:
        """What finds these marks, the longest first."""
        glued = [dates.with_glued_time(each) for each in marks if each.isdigit() and each in self._day_marks]
        return re.compile("|".join([*glued, *map(_bounded, marks)]))

    @cached_property
    def needles(self) -> Needles:
        """What is looked for in bytes."""
        return self._needles(self._day_marks, Years(self._years, self._days_written_over, _FOLDED_BYTES))

    @cached_property
    def word_needles(self) -> Needles:
        """The same without days, for texts in which these have moved already."""
        return self._needles(set())

    def _needles(self, days: set[str], years: Years | None = None) -> Needles:
        instead: dict[bytes, bytes] = {}
        short_coded = {needle for needle in self.known.coded if _is_short(needle)}
        instead |= {needle: _MASK * len(needle) for needle in self.known.coded - short_coded}
        short = {needle for needle in short_coded if not is_technical(needle.decode("latin_1"))}
        for word in {*self.known.words, *days}:
            for encoding in _ENCODINGS:
                needle = word.encode(encoding, "ignore")
                if len(needle) >= SHORTEST_IN_BYTES * _width(encoding):
                    moved = self.moved_days.get(word, "").encode(encoding)
                    instead[needle] = moved or _MASK * len(needle)
                elif (
                    len(word) >= SHORTEST_WORD
                    and not (word.isdigit() or is_technical(word))
                    and needle.decode(encoding) == word
                ):
                    short.add(needle)
        if not self._typed:
            instead |= {needle: _MASK * len(needle) for needle in short}
        return Needles(instead, {day.encode() for day in days if day.isdigit()}, short, years)

    @cached_property
    def _moving_days(self) -> tuple[date, ...]:
        """The known days that move with the images."""
        found = (dates.parse(day) for day in self.known.days - self.known.births)
        return tuple(day for day in found if day)

    def moved_day(self, day: str, near: int = NEAR_DAYS) -> str | None:
        """What is written instead of a full DA: known days as they moved, days near them by the shift; else None."""
        if day in self.moved_days:
            return self.moved_days[day]
        parsed = dates.parse(day) if self.shift_days else None
        if parsed and any(abs((parsed - each).days) <= near for each in self._moving_days):
            return dates.shift_date(day, self.shift_days)
        return None

    def numbers_moved(self, raw: bytes) -> str:
        """A DS or IS with the days in it moved, by themselves or with a time of day behind; "" if there is none."""
        values = [value.strip() for value in raw.decode("latin_1").strip("\0").split("\\")]
        moved = [self.number_moved(value) for value in values]
        if not any(moved):
            return ""
        return "\\".join(new or value for new, value in zip(moved, values, strict=True))

    def number_moved(self, text: str, near: int = NEAR_DAYS) -> str:
        """A number that begins with a day, with the day moved; "" if it is another number."""
        day = text[:8]
        if not dates.DAY_AS_NUMBER.fullmatch(text):
            return ""
        moved = self.moved_day(day, near)
        if not moved:
            return ""
        # A number has no leading zeros; a day that may not stay takes the time of day with it.
        return moved + text[8:] if moved.strip("0") else "0"

    def spans(self, text: str) -> list[tuple[int, int]]:
        """Where known identifiers stand in a text, as slices of it, none in another."""
        folded = fold_for_search(text)
        if folded.strip(" \0") in self.known.wholes:
            return [(0, len(text))]
        marks = self._possible(folded)
        found = [match.span() for match in self._pattern(marks).finditer(folded)] if marks else []
        found += self._known_days_in(folded)
        if not found:
            return []
        return _merged(found if len(folded) == len(text) else _unfolded(found, text))

    def _known_days_in(self, folded: str) -> Iterator[tuple[int, int]]:
        """Known days in words or with signs, and with a year of two digits where it is no version."""
        yield from self._full_years_in(folded)
        if self._typed and self._full_days:
            yield from dates.short_days_in(folded, self._full_days)

    def _full_years_in(self, folded: str) -> Iterator[tuple[int, int]]:
        if any(year in folded for year in self._years):
            for day in dates.days_in(folded):
                if not day.readings.isdisjoint(self._full_days):
                    yield day.start, day.stop

    def without(self, text: str) -> str:
        """The text without the known identifiers."""
        for start, stop in reversed(self.spans(text)):
            text = text[:start] + text[stop:]
        return text

    def masked(self, text: str) -> str:
        """The text with known identifiers overwritten at equal length, known days by the days they moved to."""
        known = self.spans(text)
        other = self._other_days(text, known) if self.shift_days else {}
        for start, stop in sorted([*known, *other], reverse=True):
            hit = text[start:stop]
            new = other.get((start, stop)) or self.moved_days.get(hit, "X" * len(hit))
            text = text[:start] + new + text[stop:]
        return text

    def _other_days(self, text: str, known: list[tuple[int, int]]) -> dict[tuple[int, int], str]:
        """Days near the known ones, and what is written instead of each."""
        if not any(year in text for year in self._years):
            return {}
        folded = fold_for_search(text)
        found: dict[tuple[int, int], str] = {}
        for match in dates.IN_TEXT.finditer(text):
            if moved := self.moved_day("".join(match.group(1, 3, 4))):
                found[match.span()] = match[2].join((moved[:4], moved[4:6], moved[6:]))
        for day in dates.days_in(folded):
            if day.certain and any(map(self.moved_day, day.readings)):
                (span,) = _unfolded([day[:2]], text) if len(folded) != len(text) else [day[:2]]
                # A day in words would have another length.
                if not any(_meet(span, each) for each in found):
                    found[span] = "X" * (span[1] - span[0])
        return {span: new for span, new in found.items() if not any(_meet(span, each) for each in known)}

    def _days_written_over(self, folded: str) -> list[tuple[int, int, str]]:
        """Days of a text, and what is written over each: those in digits alone are needles of their own."""
        known = [*self._full_years_in(folded)]
        other = self._other_days(folded, known) if self.shift_days else {}
        written = [(start, stop, "X" * (stop - start)) for start, stop in known]
        return written + [(*span, new) for span, new in other.items()]

    def mask_bytes(self, raw: bytes) -> bytes:
        """The bytes with known identifiers overwritten at equal length."""
        return self.needles.masked(raw)


def _unfolded(spans: Iterable[tuple[int, int]], text: str) -> list[tuple[int, int]]:
    """Slices of a text of those of its folded form."""
    origin = [at for at, each in enumerate(text) for _ in fold_character(each)]
    return [(origin[start], origin[stop - 1] + 1) for start, stop in spans]


def _merged(spans: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """The slices in order, those that overlap as one."""
    merged: list[tuple[int, int]] = []
    for span in sorted(spans):
        if merged and _meet(merged[-1], span):
            merged[-1] = merged[-1][0], max(merged[-1][1], span[1])
        else:
            merged.append(span)
    return merged


def _meet(one: tuple[int, int], other: tuple[int, int]) -> bool:
    return one[0] < other[1] and other[0] < one[1]


def _bounded(mark: str) -> str:
    """A pattern for a word that is not part of a longer word, or a number that is not part of a longer number."""
    body = r"[\W_]{0,3}".join(re.escape(part) for part in _SIGNS.split(mark) if part)
    if mark.isdigit() and len(mark) >= SHORTEST_IN_BYTES:
        body = "0*" + r"[ ._/-]?".join(mark)
    elif sum(map(str.isdigit, mark)) >= SHORTEST_IN_BYTES and mark.isalnum():
        body = re.sub(r"(?<=\d)(?=.)|(?=\d)(?<=.)", r"[ ._/-]?", mark)
    if is_ideographic(mark):
        return body
    before = r"(?<!\d)" if mark[0].isdigit() else r"(?<![^\W\d_])"
    after = r"(?!\d)" if mark[-1].isdigit() else r"(?![^\W\d_])"
    return f"{before}{body}{after}"


def words_of(texts: Iterable[str]) -> set[str]:
    """The folded words of some texts."""
    return {word for text in texts for word in _SIGNS.split(fold_for_search(text)) if word}
