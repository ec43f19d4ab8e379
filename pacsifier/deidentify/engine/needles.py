"""Looks for many byte strings in one pass: what is known of a patient, in values of unknown structure."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from functools import cached_property
from typing import NamedTuple

from ahocorasick_rs import BytesAhoCorasick, Implementation

from pacsifier.deidentify.engine.dates import GLUED_TIME

# Of large values a larger automaton takes half of the time; to make it takes as long as some dozens of them.
_LARGE_BYTES, _MANY_LARGE, _MOST_NEEDLES = 1 << 14, 32, 1000
_GLUED_TIME = re.compile(GLUED_TIME.encode() + rb"(?![0-9])")
# Printable bytes around a word of four letters, and of five: in noise such a stretch has a word by chance once in
# some GB.
_STRETCH = {4: 12, 5: 8}
_LONGEST_STRETCH = max(_STRETCH.values())
_PRINTABLE = frozenset((*b"\t\r\n", *range(32, 127)))
_ASCII, _HIGH_LETTERS = 0x80, 0xC0
_PRINTABLE_WITH_ACCENTS = _PRINTABLE | frozenset(range(_HIGH_LETTERS, 256))
# Characters around a year that may belong to its day: as far as a weekday, a time of day and a zone.
_BEFORE, _BEHIND = 48, 32
_DAY_LENGTH = 8

InText = Callable[[str], Iterable[tuple[int, int, str]]]
"""Days of a folded text: where each stands, and what is written over it, at equal length."""


class Years(NamedTuple):
    """The years near which days are looked for in bytes, how days are found in text, and how bytes fold to text."""

    years: frozenset[str] = frozenset()
    days_in: InText = lambda text: ()  # noqa: ARG005
    folded: bytes = bytes(range(256))


class Needles:
    """Byte strings in small letters, and what is written over each, at equal length.

    Numbers stand alone, words anywhere, those that are `short` only as a word of a text; a day (one of `days`) may
    have the time of day glued to it. Where one of the `years` stands, the text around it is searched for a day in
    any form.
    """

    def __init__(
        self,
        instead: Mapping[bytes, bytes],
        days: Collection[bytes] = (),
        short: Collection[bytes] = (),
        years: Years | None = None,
    ) -> None:
        self._instead = instead
        self._years = years or Years()
        encodings = ("latin_1", "utf_16_le", "utf_16_be")
        self._year_needles = {
            year.encode(encoding): encoding for year in self._years.years for encoding in encodings
        }
        self._all = sorted({*instead, *self._year_needles}, key=len)
        self._days, self._short = frozenset(days), frozenset(short)
        self._large = 0

    def __contains__(self, needle: bytes) -> bool:
        """Whether this is a needle, or a day in any form."""
        return needle in self._instead or (0, len(needle)) in self.spans(needle)

    @cached_property
    def _automaton(self) -> BytesAhoCorasick:
        return BytesAhoCorasick(self._all)

    @cached_property
    def _larger_automaton(self) -> BytesAhoCorasick:
        return BytesAhoCorasick(self._all, implementation=Implementation.DFA)

    def _automaton_for(self, raw: bytes) -> BytesAhoCorasick:
        self._large += len(raw) >= _LARGE_BYTES
        worth_it = len(raw) >= _LARGE_BYTES and self._large > _MANY_LARGE and len(self._all) <= _MOST_NEEDLES
        return self._larger_automaton if worth_it else self._automaton

    def spans(self, raw: bytes) -> Iterator[tuple[int, int]]:
        """Where a needle or a day stands, as slices; of two that begin at one place the longer one comes last."""
        return ((start, stop) for start, stop, _ in self._found(raw))

    def _found(self, raw: bytes) -> Iterator[tuple[int, int, bytes]]:
        """The same, with what is written over each."""
        if not self._all:
            return
        lower = raw.lower()
        for number, start, stop in self._automaton_for(raw).find_matches_as_indexes(lower, overlapping=True):
            needle = self._all[number]
            if needle in self._year_needles:
                yield from self._days_around(lower, start, stop, self._year_needles[needle])
            elif needle in self._short:
                if _is_word_of_text(raw, start, stop):
                    yield start, stop, self._instead[needle]
            elif not needle.isdigit() or self._stands_alone(lower, start, stop, needle):
                yield start, stop, self._instead[needle]

    def masked(self, raw: bytes) -> bytes:
        """The bytes with every needle written over; `raw` itself where there is none."""
        out: bytearray | None = None
        # The longest last: what it writes stays.
        for start, stop, new in sorted(self._found(raw), key=lambda found: found[1] - found[0]):
            out = bytearray(raw) if out is None else out
            out[start:stop] = new
        return raw if out is None else bytes(out)

    def _stands_alone(self, lower: bytes, start: int, stop: int, needle: bytes) -> bool:
        """Whether a number is not part of a longer one."""
        if start and lower[start - 1 : start].isdigit():
            return False
        if not lower[stop : stop + 1].isdigit():
            return True
        return needle in self._days and _GLUED_TIME.match(lower, stop) is not None

    def _days_around(
        self, lower: bytes, start: int, stop: int, encoding: str
    ) -> Iterator[tuple[int, int, bytes]]:
        """The days that have the year which stands here."""
        width = 1 if encoding == "latin_1" else 2
        if width == 1 and _is_inside_number(lower, start, stop):
            return
        first = start - width * min(_BEFORE, start // width)
        window = lower[first : stop + width * _BEHIND]
        text = _characters(window, encoding).translate(self._years.folded).decode("latin_1")
        year = (start - first) // width
        for begin, end, new in self._years.days_in(text):
            if begin <= year < end:
                yield first + width * begin, first + width * end, new.encode(encoding)


def _is_word_of_text(raw: bytes, start: int, stop: int) -> bool:
    """Whether a short word stands by itself, spelled as people spell, in a text or between other bytes than text."""
    hit = raw[start:stop]
    width = 2 if b"\0" in hit else 1
    letters = bytes(each for each in hit if 0 < each < _ASCII)
    if not (letters.isupper() or letters.islower() or letters.istitle()):
        return False
    if any(map(_is_letter, (raw[max(start - width, 0) : start], raw[stop : stop + width]))):
        return False
    if width == 2:
        return True
    printable = _PRINTABLE if hit.isascii() else _PRINTABLE_WITH_ACCENTS
    before, behind = raw[max(start - _LONGEST_STRETCH, 0) : start][::-1], raw[stop : stop + _LONGEST_STRETCH]
    around = len(hit) + _run(before, printable) + _run(behind, printable)
    needed = _STRETCH[len(hit)] if hit.isascii() else _STRETCH[max(_STRETCH)]
    return around >= needed or (len(hit) > min(_STRETCH) and around == len(hit))


def _is_letter(character: bytes) -> bool:
    plain = character.strip(b"\0")
    return plain.isalnum() or plain[:1] >= bytes((_HIGH_LETTERS,))


def _run(raw: bytes, printable: frozenset[int]) -> int:
    """How many printable bytes there are before the first other one."""
    return next((at for at, each in enumerate(raw) if each not in printable), len(raw))


def _is_inside_number(lower: bytes, start: int, stop: int) -> bool:
    """Whether a year is plainly no year: most of those in headers are parts of UIDs."""
    before, behind = lower[start - 1 : start] if start else b"", lower[stop : stop + 1]
    if before.isdigit():
        return True
    return behind.isdigit() and (before == b"." or not lower[start : start + _DAY_LENGTH].isdigit())


def _characters(window: bytes, encoding: str) -> bytes:
    """One byte for each character; NUL for those that have no such byte."""
    if encoding == "latin_1":
        return window
    little = encoding == "utf_16_le"
    lows, highs = (window[::2], window[1::2]) if little else (window[1::2], window[::2])
    return bytes(0 if high else low for low, high in zip(lows, highs, strict=False))
