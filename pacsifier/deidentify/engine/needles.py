"""Looks for many byte strings in one pass: what is known of a patient, in values of unknown structure."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from functools import cached_property

from ahocorasick_rs import BytesAhoCorasick, Implementation

from pacsifier.deidentify.engine.dates import GLUED_TIME

# Of large values a larger automaton takes half of the time; to make it takes as long as some dozens of them.
_LARGE_BYTES, _MANY_LARGE, _MOST_NEEDLES = 1 << 14, 32, 1000
_GLUED_TIME = re.compile(GLUED_TIME.encode() + rb"(?![0-9])")


class Needles:
    """Byte strings in small letters, and what is written over each, at equal length.

    Numbers stand alone, words anywhere; a day (one of `days`) may have the time of day glued to it.
    """

    def __init__(self, instead: Mapping[bytes, bytes], days: Collection[bytes] = ()) -> None:
        self._instead = instead
        self._all = sorted(instead, key=len)
        self._days = frozenset(days)
        self._large = 0

    def __contains__(self, needle: bytes) -> bool:
        return needle in self._instead

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
        """Where a needle stands, as slices; of two that begin at one place the longer one comes last."""
        if not self._all:
            return
        lower = raw.lower()
        for number, start, stop in self._automaton_for(raw).find_matches_as_indexes(lower, overlapping=True):
            needle = self._all[number]
            if not needle.isdigit() or self._stands_alone(lower, start, stop, needle):
                yield start, stop

    def masked(self, raw: bytes) -> bytes:
        """The bytes with every needle written over; `raw` itself where there is none."""
        out: bytearray | None = None
        # The longest last: what it writes stays.
        for start, stop in sorted(self.spans(raw), key=lambda span: span[1] - span[0]):
            out = bytearray(raw) if out is None else out
            out[start:stop] = self._instead[raw[start:stop].lower()]
        return raw if out is None else bytes(out)

    def _stands_alone(self, lower: bytes, start: int, stop: int, needle: bytes) -> bool:
        """Whether a number is not part of a longer one."""
        if start and lower[start - 1 : start].isdigit():
            return False
        if not lower[stop : stop + 1].isdigit():
            return True
        return needle in self._days and _GLUED_TIME.match(lower, stop) is not None
