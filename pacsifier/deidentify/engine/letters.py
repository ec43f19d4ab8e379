"""Judges a word that nobody has listed by its letters: whether it can be a name, or is a word of a language.

Each run of three to five letters has a weight, above zero where words of the five languages and of medicine have it
more often than names do. `scripts/letters.py` learns the weights from the sources of the vocabulary, and sets the bar
where three in a thousand of the surnames that it did not learn from are taken for words.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import NamedTuple
from zlib import crc32

from pacsifier.deidentify.engine.profile import data_bytes

SHORTEST, LONGEST = 5, 24
SIZE = 1 << 15
_RUNS = (3, 4, 5)
_BAR_BYTES = 4


class Letters(NamedTuple):
    """The weights of the runs of letters, and the sum from which a word is none of a name."""

    bar: int
    weights: Sequence[int]


def runs(folded: str) -> set[int]:
    """The places of the weights of a folded word's runs of letters; its borders count as letters."""
    text = f"^{folded}$".encode()
    return {crc32(text[at : at + length]) % SIZE for length in _RUNS for at in range(len(text) - length + 1)}


def is_a_word(folded: str, known: Letters | None = None) -> bool:
    """Whether a folded word looks like a word, not like a name; never said of letters beyond a to z."""
    if not (SHORTEST <= len(folded) <= LONGEST and folded.isascii() and folded.isalpha()):
        return False
    known = known or _letters()
    return sum(known.weights[place] for place in runs(folded)) > known.bar


def packed(letters: Letters) -> bytes:
    """The content of the data file: the bar, and a signed byte for each weight."""
    return letters.bar.to_bytes(_BAR_BYTES, "big", signed=True) + bytes(
        weight % 256 for weight in letters.weights
    )


@cache
def _letters() -> Letters:
    """The data file, read once in each process that asks."""
    data = data_bytes("letters.bin")
    bar = int.from_bytes(data[:_BAR_BYTES], "big", signed=True)
    return Letters(bar, memoryview(data[_BAR_BYTES:]).cast("b"))
